// SPDX-License-Identifier: Apache-2.0
//
// What the command lines of oms have in common: how values are read, and how
// help looks.

#ifndef OPENMESSAGING_TOOLS_OMS_ARGUMENTS_H_
#define OPENMESSAGING_TOOLS_OMS_ARGUMENTS_H_

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"

namespace openmessaging::tools {

// Adds the positional arguments that nearly every command begins with.
void AddUrl(CLI::App& command, std::string& url);
CLI::Option* AddQueue(CLI::App& command, std::string& queue);

// Adds options whose values are read in one way everywhere. Each refuses other
// forms and says what it expected; `unit` is what help calls the value.
void AddNumber(CLI::App& command, const std::string& name, int64_t& value,
               int64_t lowest, int64_t highest, const std::string& help);
void AddSize(CLI::App& command, const std::string& name, size_t& value,
             size_t highest, const std::string& help);
// "0", "500ms", "5s", "2m".
void AddTime(CLI::App& command, const std::string& name,
             std::chrono::milliseconds& value, const std::string& help);
// One of `choices`, as a position in the list.
CLI::Option* AddChoice(CLI::App& command, const std::string& name,
                       const std::string& unit, size_t& value,
                       const std::vector<std::string>& choices,
                       const std::string& help);

// Returns: the choices of an option that AddChoice made; else none.
std::vector<std::string> ChoicesOf(const CLI::Option& option);

// Joins names for people: "a", "a or b", "a, b or c".
std::string JoinChoices(const std::vector<std::string>& choices);

// Makes the help of `app` and of all commands that it has by now fit in 80
// columns, examples at the end.
void UsePlainHelp(CLI::App& app);

}  // namespace openmessaging::tools
#endif  // OPENMESSAGING_TOOLS_OMS_ARGUMENTS_H_
