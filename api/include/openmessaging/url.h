// SPDX-License-Identifier: Apache-2.0
//
// Url names a broker or a store: which driver, where, with what settings.
//
//   oms:<driver>://[account@]host[:port][,host[:port]...][/region][?name=value]
//   oms:<driver>:///absolute/path[?name=value&name=value]
//   oms:<driver>:relative/path

#ifndef OPENMESSAGING_URL_H_
#define OPENMESSAGING_URL_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "openmessaging/attributes.h"
#include "openmessaging/internal/text.h"
#include "openmessaging/internal/url_text.h"
#include "openmessaging/status.h"

namespace openmessaging {
inline namespace v0 {

inline constexpr size_t kMaxUrlBytes = size_t{64} << 10;
inline constexpr size_t kMaxUrlHosts = 64;
inline constexpr size_t kMaxDriverNameBytes = 64;

namespace internal {
class UrlParser;
}  // namespace internal

// A parsed URL. Obtain one from Parse(). What a driver needs of it (a file
// store a path, a broker a host) the driver checks, with CheckHasHosts() or
// CheckHasPath().
//
// Threads: immutable.
// Lifetime: a value.
class Url {
 public:
  struct HostPort {
    // A name or an address; IPv6 without its brackets.
    std::string host;
    // Nothing: the driver's default.
    std::optional<uint16_t> port;

    friend bool operator==(const HostPort&, const HostPort&) = default;
  };

  // Reads `text`. Account, region, path and values are percent-decoded; a
  // secret is refused, because URLs end up in logs.
  // Errors: kInvalidArgument 10001: says what is wrong, and prints no secret.
  // Implements: OMS-URL-001 to OMS-URL-008.
  [[nodiscard]] static absl::StatusOr<Url> Parse(std::string_view text);

  // Never empty, of [a-z0-9-].
  const std::string& driver() const { return driver_; }

  // Empty where the URL has none.
  const std::string& account() const { return account_; }
  const std::string& region() const { return region_; }

  // In the order of the URL; empty where it has a path.
  const std::vector<HostPort>& hosts() const { return hosts_; }

  // Empty where the URL has hosts. A relative one does not start with '/'.
  const std::string& path() const { return path_; }

  const Attributes& attributes() const { return attributes_; }

  // Checks for the drivers that need one or the other.
  // Errors: kInvalidArgument 10001: what is missing, with an example.
  // Implements: OMS-URL-009.
  [[nodiscard]] absl::Status CheckHasHosts() const;
  [[nodiscard]] absl::Status CheckHasPath() const;

  // Returns: the canonical text, which parses to an equal Url.
  // Implements: OMS-URL-008.
  std::string ToString() const;

  friend bool operator==(const Url&, const Url&) = default;

 private:
  friend class internal::UrlParser;
  Url() = default;

  std::string driver_;
  std::string account_;
  std::vector<HostPort> hosts_;
  std::string region_;
  std::string path_;
  Attributes attributes_;
};

inline absl::Status Url::CheckHasHosts() const {
  if (!hosts_.empty()) return absl::OkStatus();
  return MakeStatus(Code::kIllegalUrl, "parse url \"",
                    internal::PrintableUrl(ToString()),
                    "\": it has no host; expected oms:", driver_,
                    "://host:port (OMS-URL-009)");
}

inline absl::Status Url::CheckHasPath() const {
  if (!path_.empty()) return absl::OkStatus();
  return MakeStatus(
      Code::kIllegalUrl, "parse url \"", internal::PrintableUrl(ToString()),
      "\": it has no path; expected oms:", driver_,
      ":///absolute/path or oms:", driver_, ":relative/path (OMS-URL-009)");
}

inline std::string Url::ToString() const {
  std::string out = internal::Concat("oms:", driver_, ':');
  if (path_.empty() || path_.starts_with('/')) out.append("//");
  internal::AppendPercentEncoded(out, path_, "/:@,+=");
  if (!account_.empty()) {
    internal::AppendPercentEncoded(out, account_, "");
    out.push_back('@');
  }
  for (size_t i = 0; i < hosts_.size(); ++i) {
    const auto& [host, port] = hosts_[i];
    if (i > 0) out.push_back(',');
    if (host.find(':') == std::string::npos) {
      out.append(host);
    } else {
      out.push_back('[');
      internal::AppendPercentEncoded(out, host, ":");
      out.push_back(']');
    }
    if (port) out += internal::Concat(':', *port);
  }
  if (!region_.empty()) {
    out.push_back('/');
    internal::AppendPercentEncoded(out, region_, "");
  }
  char separator = '?';
  for (const auto& [name, value] : attributes_) {
    out += internal::Concat(std::exchange(separator, '&'), name, '=');
    internal::AppendPercentEncoded(out, value, "/:@,");
  }
  return out;
}

}  // namespace v0
}  // namespace openmessaging

#include "openmessaging/internal/url_inl.h"  // IWYU pragma: export

#endif  // OPENMESSAGING_URL_H_
