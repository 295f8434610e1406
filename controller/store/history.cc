#include "absl/strings/str_cat.h"
#include "common/digest.h"
#include "common/utf8.h"
#include "controller/store/store.h"
#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/io/zero_copy_stream_impl_lite.h"

namespace failover::store {
namespace {

std::string EntryHash(absl::string_view previous, const v1::HistoryEntry& entry) {
  v1::HistoryEntry bare = entry;
  bare.clear_hash();
  std::string bytes;
  {
    google::protobuf::io::StringOutputStream stream(&bytes);
    google::protobuf::io::CodedOutputStream coded(&stream);
    coded.SetSerializationDeterministic(true);
    bare.SerializeToCodedStream(&coded);
  }
  return Sha256Hex(absl::StrCat(previous, "\n", bytes));
}

}  // namespace

bool HistoryIntact(const v1::GroupRecord& record) {
  for (int i = 0; i < record.history_size(); ++i) {
    const v1::HistoryEntry& entry = record.history(i);
    if (entry.hash().empty()) return false;
    if (i > 0 && entry.hash() != EntryHash(record.history(i - 1).hash(), entry)) return false;
  }
  return true;
}

void SealHistory(v1::GroupRecord& record) {
  std::string previous;
  for (v1::HistoryEntry& entry : *record.mutable_history()) {
    if (entry.hash().empty()) {
      for (std::string* text : {entry.mutable_kind(), entry.mutable_text(), entry.mutable_who(),
                                entry.mutable_outcome(), entry.mutable_reference()}) {
        *text =
            ToValidUtf8(*text);  // JSON drops other bytes: what is hashed must be what is read back
      }
      entry.set_hash(EntryHash(previous, entry));
    }
    previous = entry.hash();
  }
}

}  // namespace failover::store
