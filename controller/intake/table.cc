#include "controller/intake/table.h"

#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "google/protobuf/util/message_differencer.h"

namespace failover::intake {
namespace {

double ResultsPerSecond(const v1::Assignment& assignment) {
  double sum = 0;
  for (const v1::Target& target : assignment.targets()) {
    const double seconds = static_cast<double>(target.interval().seconds()) +
                           static_cast<double>(target.interval().nanos()) * 1e-9;
    if (seconds > 0) sum += 1 / seconds;
  }
  return sum;
}

}  // namespace

std::string Table::RegionList() const {
  std::vector<std::string> names;
  for (const auto& [name, region] : regions) names.push_back(name);
  return names.empty() ? "none" : absl::StrJoin(names, ", ");
}

double Table::RateOf(const std::string& region) const {
  const auto found = regions.find(region);
  return found == regions.end() ? 0 : found->second.results_per_second;
}

const TargetEntry* Table::Find(const std::string& target) const {
  const auto entry = assignments.targets.find(target);
  return entry == assignments.targets.end() ? nullptr : &entry->second;
}

std::shared_ptr<const Table> MakeTable(Assignments assignments, const Table& before) {
  auto table = std::make_shared<Table>();
  table->serial = before.serial + 1;
  for (const auto& [region, groups] : assignments.groups_of_region) table->regions[region];
  for (const auto& [region, assignment] : assignments.by_probe_region) {
    Table::Region& entry = table->regions[region];
    entry.results_per_second = ResultsPerSecond(assignment);
    if (!assignments.leading) continue;
    const auto old = before.regions.find(region);
    if (old != before.regions.end() && old->second.message != nullptr &&
        google::protobuf::util::MessageDifferencer::Equals(old->second.message->assignment(),
                                                           assignment)) {
      entry.message = old->second.message;
      continue;
    }
    auto message = std::make_shared<v1::ControllerMessage>();
    *message->mutable_assignment() = assignment;
    entry.message = std::move(message);
  }
  table->assignments = std::move(assignments);
  table->assignments.by_probe_region.clear();
  return table;
}

void MessageNote::Refuse(const char* kind, const std::string& target) {
  ++refused[kind];
  refused_why = absl::StrCat(kind, ": result of target ", absl::CHexEscape(target.substr(0, 120)));
}

}  // namespace failover::intake
