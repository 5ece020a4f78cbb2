// SPDX-License-Identifier: Apache-2.0
//
// What a URL and its attributes say, as settings of librdkafka. Every setting of
// librdkafka is an attribute under its own name, but for those that the driver
// decides. No value is ever printed.

#ifndef OPENMESSAGING_KAFKA_CONFIG_H_
#define OPENMESSAGING_KAFKA_CONFIG_H_

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "native.h"
#include "openmessaging/attributes.h"
#include "openmessaging/url.h"

namespace openmessaging::kafka {

// Threads: immutable.
class Config {
 public:
  enum class Kind { kProducer, kConsumer, kControl };

  static constexpr uint16_t kDefaultPort = 9092;

  // Checks all of it, without input or output.
  // Errors: 10001, 1418.
  static absl::StatusOr<Config> Parse(const Url& url,
                                      const Attributes& attributes);

  // Returns: what a handle of that kind begins with. `settings` are the
  // driver's, and stronger than attributes.
  absl::StatusOr<OwnedConf> Make(
      Kind kind,
      const std::vector<std::pair<std::string, std::string>>& settings) const;

 private:
  Config() = default;

  std::vector<std::pair<std::string, std::string>> common_;
};

}  // namespace openmessaging::kafka
#endif  // OPENMESSAGING_KAFKA_CONFIG_H_
