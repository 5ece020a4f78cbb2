// SPDX-License-Identifier: Apache-2.0

#include "command_harness.h"

#include <sys/wait.h>

#include <array>
#include <cstdlib>
#include <sstream>
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

// Reads a URL with attributes behind it.
absl::StatusOr<Address> ReadAddress(const std::string& text) {
  std::istringstream words(text);
  Address address;
  words >> address.url;
  for (std::string word; words >> word;) {
    const size_t equals = word.find('=');
    if (equals == std::string::npos) {
      return MakeStatus(Code::kBadParameter, "--access: a word is \"",
                        internal::Printable(word),
                        "\"; expected <name>=<value> behind the URL");
    }
    absl::Status set =
        address.attributes.Set(word.substr(0, equals), word.substr(equals + 1));
    if (!set.ok()) return set;
  }
  return address;
}

using Addresses = std::array<std::optional<Address>, kAccessNames.size()>;

class CommandHarness final : public Harness {
 public:
  CommandHarness(std::unique_ptr<Harness> inner, HarnessOptions options,
                 std::vector<ProxyRoute> routes, Addresses addresses)
      : inner_(std::move(inner)),
        options_(std::move(options)),
        routes_(std::move(routes)),
        addresses_(std::move(addresses)) {}

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
  std::optional<Address> AddressFor(Access access) const override {
    const auto& own = addresses_[static_cast<size_t>(access)];
    return own ? own : inner_->AddressFor(access);
  }
  std::string UnreachableUrl() const override {
    return options_.unreachable.empty() ? inner_->UnreachableUrl()
                                        : options_.unreachable;
  }

 private:
  const std::unique_ptr<Harness> inner_;
  const HarnessOptions options_;
  const std::vector<ProxyRoute> routes_;
  const Addresses addresses_;
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
  Addresses addresses;
  for (size_t i = 0; i < addresses.size(); ++i) {
    if (options.access[i].empty()) continue;
    auto address = ReadAddress(options.access[i]);
    if (!address.ok()) return address.status();
    addresses[i] = *std::move(address);
  }
  return std::unique_ptr<Harness>(std::make_unique<CommandHarness>(
      std::move(inner), std::move(options), std::move(routes),
      std::move(addresses)));
}

}  // namespace openmessaging::conformance
