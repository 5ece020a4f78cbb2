// SPDX-License-Identifier: Apache-2.0
//
// The parser behind Url::Parse(). Included by url.h.

#ifndef OPENMESSAGING_INTERNAL_URL_INL_H_
#define OPENMESSAGING_INTERNAL_URL_INL_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "openmessaging/attributes.h"
#include "openmessaging/internal/attribute_text.h"
#include "openmessaging/internal/text.h"
#include "openmessaging/internal/url_text.h"
#include "openmessaging/status.h"
#include "openmessaging/url.h"

namespace openmessaging {
inline namespace v0 {
namespace internal {

// Reads one URL from left to right. Errors name the parts by their position and
// never quote what was not understood: it may be part of a password.
class UrlParser {
 public:
  explicit UrlParser(std::string_view text) : text_(text) {}

  absl::StatusOr<Url> Parse();

 private:
  // Each reads one part of the text and stores it.
  absl::Status ReadDriver(std::string_view& rest);
  absl::Status ReadPlace(std::string_view place);
  absl::Status ReadAuthority(std::string_view authority);
  absl::Status ReadHost(std::string_view text);
  absl::Status ReadPort(std::string_view text, Url::HostPort& host);
  absl::Status ReadQuery(std::string_view query);
  absl::Status ReadAttribute(std::string_view text, size_t number);
  absl::Status ReadText(std::string_view raw, std::string_view what,
                        std::string& out);

  template <typename... Parts>
  absl::Status Fail(const Parts&... parts) const {
    return MakeStatus(Code::kIllegalUrl, "parse url \"", PrintableUrl(text_),
                      "\": ", parts...);
  }

  std::string_view text_;
  Url url_;
};

inline absl::StatusOr<Url> UrlParser::Parse() {
  if (text_.size() > kMaxUrlBytes) {
    return Fail("it is ", text_.size(), " bytes long; expected at most ",
                kMaxUrlBytes, " (OMS-URL-007)");
  }
  std::string_view rest = text_;
  if (absl::Status status = ReadDriver(rest); !status.ok()) return status;
  if (rest.find('#') != rest.npos) {
    return Fail(
        "it has a fragment; expected %23 for the character # "
        "(OMS-URL-001)");
  }
  const size_t question = std::min(rest.find('?'), rest.size());
  absl::Status status = ReadPlace(rest.substr(0, question));
  if (status.ok() && question + 1 < rest.size()) {
    status = ReadQuery(rest.substr(question + 1));
  }
  if (!status.ok()) return status;
  return std::move(url_);
}

inline absl::Status UrlParser::ReadDriver(std::string_view& rest) {
  constexpr std::string_view kScheme = "oms:";
  if (!rest.starts_with(kScheme)) {
    return Fail(
        "it does not start with oms:; expected oms:<driver>://host or "
        "oms:<driver>:path (OMS-URL-001)");
  }
  rest.remove_prefix(kScheme.size());
  const size_t colon = rest.find(':');
  const std::string_view driver = rest.substr(0, colon);
  const auto is_allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || IsAsciiDigit(c) || c == '-';
  };
  if (colon == rest.npos || driver.empty() ||
      driver.size() > kMaxDriverNameBytes ||
      !std::all_of(driver.begin(), driver.end(), is_allowed)) {
    return Fail("it names no driver; expected oms:<driver>: with 1 to ",
                kMaxDriverNameBytes, " of [a-z0-9-] (OMS-URL-001)");
  }
  url_.driver_ = driver;
  rest.remove_prefix(colon + 1);
  return absl::OkStatus();
}

// Reads what lies between the driver and the query.
inline absl::Status UrlParser::ReadPlace(std::string_view place) {
  if (!place.starts_with("//")) {
    if (place.empty()) {
      return Fail(
          "nothing follows the driver; expected ://host or a path "
          "(OMS-URL-001)");
    }
    return ReadText(place, "path", url_.path_);
  }
  place.remove_prefix(2);
  if (place.starts_with('/')) return ReadText(place, "path", url_.path_);
  if (place.empty()) return absl::OkStatus();
  if (url_.driver_ == "file") {
    return Fail(
        "a file url has no host; expected oms:file:///absolute/path or "
        "oms:file:relative/path (OMS-URL-009)");
  }
  const size_t slash = std::min(place.find('/'), place.size());
  absl::Status status = ReadAuthority(place.substr(0, slash));
  if (!status.ok() || slash + 1 >= place.size()) return status;
  const std::string_view region = place.substr(slash + 1);
  if (region.find_first_of("/@") != region.npos) {
    return Fail(
        "its region contains / or @; expected %2F or %40 for them "
        "(OMS-URL-004)");
  }
  return ReadText(region, "region", url_.region_);
}

inline absl::Status UrlParser::ReadAuthority(std::string_view authority) {
  if (const size_t at = authority.rfind('@'); at != authority.npos) {
    const std::string_view account = authority.substr(0, at);
    if (account.empty() || account.find('@') != account.npos) {
      return Fail(
          "its account is empty or contains @; expected account@host, "
          "and %40 for an @ inside (OMS-URL-003)");
    }
    absl::Status status = ReadText(account, "account", url_.account_);
    if (!status.ok()) return status;
    if (url_.account_.find(':') != std::string::npos) {
      return Fail(
          "it carries a password; expected secrets as attributes of "
          "the call, in the environment or in a file (OMS-URL-006)");
    }
    authority.remove_prefix(at + 1);
  }
  while (true) {
    if (url_.hosts_.size() == kMaxUrlHosts) {
      return Fail("it has too many hosts; expected at most ", kMaxUrlHosts,
                  " (OMS-URL-007)");
    }
    const size_t comma = authority.find(',');
    absl::Status status = ReadHost(authority.substr(0, comma));
    if (!status.ok() || comma == authority.npos) return status;
    authority.remove_prefix(comma + 1);
  }
}

inline absl::Status UrlParser::ReadHost(std::string_view text) {
  const size_t number = url_.hosts_.size() + 1;
  Url::HostPort host;
  size_t end = std::min(text.find(':'), text.size());
  if (text.starts_with('[')) {
    const size_t bracket = text.find(']');
    const std::string_view inside =
        text.substr(1, bracket == text.npos ? bracket : bracket - 1);
    const size_t percent = std::min(inside.find("%25"), inside.size());
    const std::string_view zone =
        inside.substr(std::min(percent + 3, inside.size()));
    const bool zone_ok = percent == inside.size() || IsHostName(zone);
    if (bracket == text.npos || !zone_ok ||
        !IsIpv6(inside.substr(0, percent))) {
      return Fail("host ", number,
                  " is not an IPv6 address; expected one such as [::1] or "
                  "[fe80::1%25eth0] (OMS-URL-002)");
    }
    host.host = inside.substr(0, percent);
    if (!zone.empty()) host.host += Concat('%', zone);
    end = bracket + 1;
  } else {
    if (!IsHostName(text.substr(0, end))) {
      return Fail("host ", number,
                  " is empty or malformed; expected a name of [A-Za-z0-9._-], "
                  "an IPv4 address, or an IPv6 address in brackets "
                  "(OMS-URL-002)");
    }
    host.host = text.substr(0, end);
  }
  absl::Status status = ReadPort(text.substr(end), host);
  if (status.ok()) url_.hosts_.push_back(std::move(host));
  return status;
}

inline absl::Status UrlParser::ReadPort(std::string_view text,
                                        Url::HostPort& host) {
  if (text.empty()) return absl::OkStatus();
  uint16_t port = 0;
  if (!text.starts_with(':') || text.size() > 6 ||
      !ParseInteger(text.substr(1), port) || port == 0) {
    return Fail("the port of host ", url_.hosts_.size() + 1,
                " is malformed; expected a number from 1 to 65535, and "
                "brackets around an IPv6 address (OMS-URL-002)");
  }
  host.port = port;
  return absl::OkStatus();
}

inline absl::Status UrlParser::ReadQuery(std::string_view query) {
  for (size_t number = 1;; ++number) {
    const size_t ampersand = query.find('&');
    absl::Status status = ReadAttribute(query.substr(0, ampersand), number);
    if (!status.ok() || ampersand == query.npos) return status;
    query.remove_prefix(ampersand + 1);
  }
}

inline absl::Status UrlParser::ReadAttribute(std::string_view text,
                                             size_t number) {
  const size_t equals = text.find('=');
  const std::string_view name = text.substr(0, equals);
  if (equals == text.npos || !IsAttributeName(name)) {
    return Fail("attribute ", number,
                " is malformed; expected name=value with a name of [a-z0-9.-] "
                "(OMS-URL-005)");
  }
  if (IsSecretAttribute(name)) {
    return Fail("attribute \"", name,
                "\" is a secret; expected secrets as attributes of the call, "
                "in the environment or in a file (OMS-URL-006)");
  }
  if (url_.attributes_.Contains(name)) {
    return Fail("attribute \"", name,
                "\" is there twice; expected it once (OMS-URL-005)");
  }
  std::string value;
  absl::Status status = ReadText(text.substr(equals + 1),
                                 Concat("attribute \"", name, '"'), value);
  return status.ok() ? url_.attributes_.Set(name, value) : status;
}

inline absl::Status UrlParser::ReadText(std::string_view raw,
                                        std::string_view what,
                                        std::string& out) {
  std::optional<std::string> decoded = PercentDecode(raw);
  if (!decoded) {
    return Fail(what,
                " has a percent sign without two hexadecimal digits; "
                "expected %25 for a percent sign (OMS-URL-004)");
  }
  if (const char* const flaw = FindTextFlaw(*decoded)) {
    return Fail(what, ' ', flaw,
                "; expected UTF-8 text without control characters "
                "(OMS-URL-004)");
  }
  out = *std::move(decoded);
  return absl::OkStatus();
}

}  // namespace internal

inline absl::StatusOr<Url> Url::Parse(std::string_view text) {
  return internal::UrlParser(text).Parse();
}

}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_INTERNAL_URL_INL_H_
