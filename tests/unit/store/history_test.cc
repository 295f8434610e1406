#include "absl/strings/str_cat.h"
#include "controller/store/store.h"
#include "gtest/gtest.h"

namespace failover::store {
namespace {

v1::GroupRecord RecordWith(int entries) {
  v1::GroupRecord record;
  for (int i = 0; i < entries; ++i) {
    v1::HistoryEntry* entry = record.add_history();
    entry->set_sequence(i + 1);
    entry->set_at_ms(1'700'000'000'000 + i);
    entry->set_kind("roles");
    entry->set_text(absl::StrCat("entry ", i));
  }
  return record;
}

TEST(HistoryTest, SealingFillsInEveryMissingHash) {
  v1::GroupRecord record = RecordWith(3);
  EXPECT_FALSE(HistoryIntact(record));
  SealHistory(record);
  EXPECT_TRUE(HistoryIntact(record));
  EXPECT_EQ(record.history(0).hash().size(), 64u);
  EXPECT_NE(record.history(0).hash(), record.history(1).hash());
}

TEST(HistoryTest, SealedEntriesKeepTheirHashesWhenMoreAreAdded) {
  v1::GroupRecord record = RecordWith(2);
  SealHistory(record);
  const std::string first = record.history(0).hash(), second = record.history(1).hash();
  record.add_history()->set_text("one more");
  SealHistory(record);
  EXPECT_EQ(record.history(0).hash(), first);
  EXPECT_EQ(record.history(1).hash(), second);
  EXPECT_TRUE(HistoryIntact(record));
}

TEST(HistoryTest, AnEditedEntryBreaksTheChain) {
  for (int edited = 1; edited < 3; ++edited) {
    v1::GroupRecord record = RecordWith(3);
    SealHistory(record);
    record.mutable_history(edited)->set_text("nothing happened");
    EXPECT_FALSE(HistoryIntact(record)) << edited;
  }
}

TEST(HistoryTest, EveryFieldOfAnEntryIsPartOfItsHash) {
  const v1::GroupRecord plain = [] {
    v1::GroupRecord record = RecordWith(2);
    SealHistory(record);
    return record;
  }();
  const auto* descriptor = v1::HistoryEntry::descriptor();
  for (int i = 0; i < descriptor->field_count(); ++i) {
    const auto* field = descriptor->field(i);
    v1::GroupRecord record = plain;
    v1::HistoryEntry& entry = *record.mutable_history(1);
    if (field->cpp_type() == google::protobuf::FieldDescriptor::CPPTYPE_STRING) {
      entry.GetReflection()->SetString(&entry, field, "other");
    } else if (field->cpp_type() == google::protobuf::FieldDescriptor::CPPTYPE_UINT64) {
      entry.GetReflection()->SetUInt64(&entry, field, 77);
    } else {
      entry.GetReflection()->SetInt64(&entry, field, 77);
    }
    EXPECT_FALSE(HistoryIntact(record)) << field->name();
  }
}

TEST(HistoryTest, ARemovedOrMovedEntryBreaksTheChain) {
  v1::GroupRecord record = RecordWith(4);
  SealHistory(record);
  v1::GroupRecord removed = record;
  removed.mutable_history()->DeleteSubrange(1, 1);
  EXPECT_FALSE(HistoryIntact(removed));
  v1::GroupRecord moved = record;
  moved.mutable_history()->SwapElements(1, 2);
  EXPECT_FALSE(HistoryIntact(moved));
}

TEST(HistoryTest, TheFirstKeptEntryIsTakenAsItIs) {
  v1::GroupRecord record = RecordWith(4);
  SealHistory(record);
  record.mutable_history()->DeleteSubrange(0, 2);
  EXPECT_TRUE(HistoryIntact(record));
}

TEST(HistoryTest, AnUnsealedEntryIsNotIntact) {
  v1::GroupRecord record = RecordWith(1);
  SealHistory(record);
  record.add_history()->set_text("not sealed");
  EXPECT_FALSE(HistoryIntact(record));
}

TEST(HistoryTest, AnEmptyHistoryIsIntact) { EXPECT_TRUE(HistoryIntact(v1::GroupRecord())); }

}  // namespace
}  // namespace failover::store
