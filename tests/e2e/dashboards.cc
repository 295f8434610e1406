#include "tests/e2e/dashboards.h"

#include <re2/re2.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace failover::e2e {
namespace {

using Json = nlohmann::json;
using Variables = std::map<std::string, std::string>;

Json ListIn(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_array() ? *found : Json::array();
}

std::string WithValues(std::string expression, const Variables& variables) {
  // Longer names first: $__range is the beginning of $__range_s.
  std::vector<std::pair<std::string, std::string>> by_length(variables.begin(), variables.end());
  std::stable_sort(by_length.begin(), by_length.end(),
                   [](const auto& a, const auto& b) { return a.first.size() > b.first.size(); });
  for (const auto& [name, value] : by_length) {
    RE2::GlobalReplace(&expression, absl::StrCat("\\$\\{", name, "(:[a-z]+)?\\}"), value);
    expression = absl::StrReplaceAll(expression, {{absl::StrCat("$", name), value}});
  }
  EXPECT_EQ(expression.find('$'), std::string::npos) << "an unknown variable in " << expression;
  return expression;
}

void AddPanels(const Json& object, const std::string& dashboard, const Variables& variables,
               std::vector<DashboardQuery>& queries) {
  for (const Json& panel : ListIn(object, "panels")) {
    for (const Json& target : ListIn(panel, "targets")) {
      const std::string expression = target.value("expr", "");
      EXPECT_FALSE(expression.empty()) << dashboard << ": " << panel.value("title", "");
      queries.push_back({dashboard, panel.value("title", ""), WithValues(expression, variables), "",
                         target.value("instant", false)});
    }
    AddPanels(panel, dashboard, variables, queries);
  }
}

// label_values(METRIC{…}, LABEL) of the dashboard's own variables.
void AddVariables(const Json& dashboard, const std::string& title, const Variables& variables,
                  std::vector<DashboardQuery>& queries) {
  for (const Json& variable : ListIn(dashboard.value("templating", Json::object()), "list")) {
    if (variable.value("type", "") != "query") continue;
    const Json& query = variable["query"];
    const std::string text =
        query.is_string() ? query.get<std::string>() : query.value("query", "");
    std::string selector, label;
    const std::string name = absl::StrCat("variable ", variable.value("name", ""));
    if (RE2::FullMatch(text, "label_values\\((.+), *([a-z_]+)\\)", &selector, &label)) {
      queries.push_back({title, name, WithValues(selector, variables), label, true});
    } else {
      ADD_FAILURE() << title << ": " << name << " asks for " << text;
    }
  }
}

void AddAnnotations(const Json& dashboard, const std::string& title, const Variables& variables,
                    std::vector<DashboardQuery>& queries) {
  for (const Json& annotation : ListIn(dashboard.value("annotations", Json::object()), "list")) {
    const std::string expression = annotation.value("expr", "");
    if (expression.empty()) continue;  // Grafana's own annotations
    queries.push_back({title, absl::StrCat("annotation ", annotation.value("name", "")),
                       WithValues(expression, variables), "", false});
  }
}

}  // namespace

std::vector<DashboardQuery> DashboardQueries(const Variables& given) {
  std::vector<DashboardQuery> queries;
  const std::filesystem::path folder =
      absl::StrCat(FAILOVER_SOURCE, "/charts/apim-failover/dashboards");
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    if (entry.path().extension() != ".json") continue;
    std::ifstream file(entry.path());
    const Json dashboard = Json::parse(file);
    const std::string title = dashboard.value("title", "");
    Variables variables = given;
    for (const Json& variable : ListIn(dashboard.value("templating", Json::object()), "list"))
      variables.emplace(variable.value("name", ""), ".+");
    AddPanels(dashboard, title, variables, queries);
    AddVariables(dashboard, title, variables, queries);
    AddAnnotations(dashboard, title, variables, queries);
  }
  return queries;
}

}  // namespace failover::e2e
