// SPDX-License-Identifier: Apache-2.0

#include "list_queues.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "openmessaging/status.h"
#include "output.h"

namespace openmessaging::tools {

void AddNamespace(CLI::App& command, std::string& name_space,
                  CLI::Option* queue) {
  command
      .add_option("--namespace", name_space,
                  "only the queues of this namespace (all)")
      ->type_name("NAMESPACE")
      ->excludes(queue);
}

absl::StatusOr<std::vector<QueueInfo>> ListQueues(
    ResourceManager& manager, const std::string& name_space,
    const std::string& url) {
  // The empty name is the default namespace's.
  std::vector<std::string> from = {name_space};
  if (name_space.empty()) {
    const auto others = manager.ListNamespaces();
    // A driver may have none.
    if (!others.ok() && OmsCode(others.status()) != Code::kUnsupported) {
      return others.status();
    }
    if (others.ok()) from.insert(from.end(), others->begin(), others->end());
  }
  std::vector<QueueInfo> all;
  for (const std::string& one : from) {
    auto queues = manager.ListQueues(one);
    // Deleted since the names were asked for.
    if (OmsCode(queues.status()) == Code::kNamespaceNotFound &&
        name_space.empty()) {
      continue;
    }
    if (!queues.ok()) {
      return WithNamespaceAdvice(queues.status(), url, name_space);
    }
    std::move(queues->begin(), queues->end(), std::back_inserter(all));
  }
  std::sort(
      all.begin(), all.end(),
      [](const QueueInfo& a, const QueueInfo& b) { return a.name < b.name; });
  return all;
}

}  // namespace openmessaging::tools
