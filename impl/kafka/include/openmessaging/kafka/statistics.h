// SPDX-License-Identifier: Apache-2.0
//
// What librdkafka counts, for whoever shows it beside the telemetry of the API:
// access_point.native<openmessaging::kafka::Statistics>().

#ifndef OPENMESSAGING_KAFKA_STATISTICS_H_
#define OPENMESSAGING_KAFKA_STATISTICS_H_

#include <map>
#include <string>
#include <string_view>

namespace openmessaging::kafka {

// Counted where the attribute statistics.interval.ms says how often.
//
// Threads: any. Lifetime: the access point's.
class Statistics {
 public:
  static constexpr std::string_view kInterface =
      "openmessaging.kafka.Statistics/0";

  // Returns: for each client of librdkafka by its name, what it told last:
  // JSON, as librdkafka's STATISTICS.md describes it.
  virtual std::map<std::string, std::string> Latest() const = 0;

 protected:
  ~Statistics() = default;
};

}  // namespace openmessaging::kafka
#endif  // OPENMESSAGING_KAFKA_STATISTICS_H_
