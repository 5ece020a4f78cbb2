// SPDX-License-Identifier: Apache-2.0
//
// ListQueues finds the queues that a command is about when none is named.

#ifndef OPENMESSAGING_TOOLS_OMS_LIST_QUEUES_H_
#define OPENMESSAGING_TOOLS_OMS_LIST_QUEUES_H_

#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/status/statusor.h"
#include "openmessaging/resource_manager.h"

namespace openmessaging::tools {

// Adds --namespace, beside which `queue` cannot be given.
void AddNamespace(CLI::App& command, std::string& name_space,
                  CLI::Option* queue);

// Returns: the queues of one namespace, or with an empty name those of all, in
// the order of their names. `url` is for the advice of an error.
absl::StatusOr<std::vector<QueueInfo>> ListQueues(
    ResourceManager& manager, const std::string& name_space,
    const std::string& url);

}  // namespace openmessaging::tools
#endif  // OPENMESSAGING_TOOLS_OMS_LIST_QUEUES_H_
