// SPDX-License-Identifier: Apache-2.0

#include "command_harness.h"

#include <sys/wait.h>

#include <cstdlib>
#include <utility>

#include "openmessaging/internal/text.h"
#include "openmessaging/status.h"

namespace openmessaging::conformance {
namespace {

// Runs it in a shell, with nothing to read and its output in our error stream:
// ours is the report.
absl::Status RunCommand(const std::string& command) {
  const int ended =
      std::system(("{ " + command + "\n} </dev/null >&2").c_str());
  if (ended == 0) return absl::OkStatus();
  return MakeStatus(Code::kBrokerError, "run \"", internal::Printable(command),
                    "\": it ended with ",
                    WIFEXITED(ended) ? WEXITSTATUS(ended) : -1);
}

// Returns: `text` as one word of a shell.
std::string Quoted(std::string_view text) {
  std::string out = "'";
  for (const char c : text) {
    if (c == '\'') {
      out += "'\\''";
    } else {
      out += c;
    }
  }
  return out + "'";
}

class CommandHarness final : public Harness {
 public:
  CommandHarness(std::unique_ptr<Harness> inner, HarnessOptions options,
                 std::vector<ProxyRoute> routes)
      : inner_(std::move(inner)),
        options_(std::move(options)),
        routes_(std::move(routes)) {}

  Tolerances tolerances() const override {
    Tolerances all = inner_->tolerances();
    const auto set = [](std::optional<int> ms, std::chrono::milliseconds& to) {
      if (ms) to = std::chrono::milliseconds(*ms);
    };
    set(options_.late_ms, all.late);
    set(options_.patience_ms, all.patience);
    set(options_.half_open_ms, all.half_open);
    return all;
  }
  absl::Status CreateQueue(const MessagingAccessPoint& bus,
                           std::string_view queue,
                           const QueueOptions& options) override {
    return inner_->CreateQueue(bus, queue, options);
  }
  void RemoveQueue(const MessagingAccessPoint& bus,
                   std::string_view queue) override {
    inner_->RemoveQueue(bus, queue);
  }
  absl::Status Restart() override {
    if (options_.restart_command.empty()) return inner_->Restart();
    return RunCommand(options_.restart_command);
  }
  bool CanRestart() const override {
    return !options_.restart_command.empty() || inner_->CanRestart();
  }
  std::vector<ProxyRoute> ProxyRoutes() const override {
    return routes_.empty() ? inner_->ProxyRoutes() : routes_;
  }
  absl::Status SendForeign(std::string_view queue,
                           std::string_view body) override {
    if (options_.foreign_command.empty()) {
      return inner_->SendForeign(queue, body);
    }
    return RunCommand(options_.foreign_command + " " + Quoted(queue) + " " +
                      Quoted(body));
  }
  bool CanSendForeign() const override {
    return !options_.foreign_command.empty() || inner_->CanSendForeign();
  }
  std::string UnreachableUrl() const override {
    return options_.unreachable.empty() ? inner_->UnreachableUrl()
                                        : options_.unreachable;
  }

 private:
  const std::unique_ptr<Harness> inner_;
  const HarnessOptions options_;
  const std::vector<ProxyRoute> routes_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Harness>> MakeCommandHarness(
    std::unique_ptr<Harness> inner, HarnessOptions options) {
  std::vector<ProxyRoute> routes;
  for (const std::string& text : options.proxies) {
    const size_t equals = text.find('=');
    if (equals == std::string::npos) {
      return MakeStatus(Code::kBadParameter, "--proxy: value is \"",
                        internal::Printable(text),
                        "\"; expected <host>:<port>=<host>:<port>, where the "
                        "proxy listens and the broker behind it");
    }
    routes.push_back({text.substr(0, equals), text.substr(equals + 1)});
  }
  return std::unique_ptr<Harness>(std::make_unique<CommandHarness>(
      std::move(inner), std::move(options), std::move(routes)));
}

}  // namespace openmessaging::conformance
