// SPDX-License-Identifier: Apache-2.0
//
// URLs of any bytes: what is read prints to what reads the same, and no error
// shows a password.

#include <string>
#include <string_view>

#include "input.h"
#include "openmessaging/internal/utf8.h"
#include "openmessaging/status.h"
#include "openmessaging/url.h"

namespace openmessaging::fuzz {
namespace {

constexpr std::string_view kSecret = "Hunter2";

bool IsPlainText(std::string_view text) {
  return internal::FindTextFlaw(text) == nullptr;
}

void CheckParsed(const Url& url, std::string_view text) {
  Expect(!url.driver().empty() && url.driver().size() <= kMaxDriverNameBytes &&
             url.driver().find_first_not_of(
                 "abcdefghijklmnopqrstuvwxyz0123456789-") == std::string::npos,
         "the name of a driver", text);
  Expect(url.hosts().size() <= kMaxUrlHosts, "too many hosts", text);
  Expect(url.hosts().empty() || url.path().empty(), "hosts and a path", text);
  bool plain = IsPlainText(url.account()) && IsPlainText(url.region()) &&
               IsPlainText(url.path());
  for (const Url::HostPort& host : url.hosts()) {
    plain =
        plain && IsPlainText(host.host) && !host.host.empty() && host.port != 0;
  }
  for (const auto& [name, value] : url.attributes()) {
    plain = plain && internal::IsAttributeName(name) && IsPlainText(value);
    Expect(!IsSecretAttribute(name), "a secret was accepted", text);
  }
  Expect(plain, "a part is no text", text);

  const std::string printed = url.ToString();
  const auto again = Url::Parse(printed);
  // What needs more room as percent signs may be too long to read again.
  if (printed.size() > kMaxUrlBytes) return;
  Expect(again.ok() && *again == url, "it reads otherwise once printed",
         printed);
  Expect(again->ToString() == printed, "it prints otherwise", printed);
}

// Text around a secret, in a place where one may stand. Returns: nothing where
// the text itself has it.
std::string AroundSecret(Input& input) {
  constexpr std::string_view kBefore[] = {
      "?password=", "&token=",      "&account.key=",
      "?x-secret=", "&passphrase=", "?tls.key="};
  const size_t place = input.Pick(2 + std::size(kBefore));
  const std::string_view before = input.TakeUpTo('\n');
  const std::string_view behind = input.TakeRest();
  if ((std::string(before) + '\n' + std::string(behind)).find(kSecret) !=
      std::string::npos) {
    return {};
  }
  std::string text = "oms:" + std::string(before);
  if (place < 2) {
    text += place == 0 ? ":" : "%3a";
    text += kSecret;
    text += '@';
  } else {
    text += kBefore[place - 2];
    text += kSecret;
  }
  text += behind;
  return text;
}

void CheckHidden(const absl::Status& status) {
  const std::string_view words(status.message().data(),
                               status.message().size());
  Expect(words.find(kSecret) == std::string_view::npos, "an error tells",
         words);
}

}  // namespace
}  // namespace openmessaging::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace openmessaging;
  using namespace openmessaging::fuzz;
  Input input(data, size);
  const bool secret = size > 0 && data[0] == '!';
  if (secret) input.Byte();
  const std::string text =
      secret ? AroundSecret(input) : std::string(input.TakeRest());
  const auto url = Url::Parse(text);
  if (url.ok()) {
    CheckParsed(*url, text);
    return 0;
  }
  Expect(OmsCode(url.status()) == Code::kIllegalUrl, "another code", text);
  const std::string_view words(url.status().message().data(),
                               url.status().message().size());
  Expect(IsPlainText(words), "an error is no line of text", words);
  if (secret) CheckHidden(url.status());
  return 0;
}
