// SPDX-License-Identifier: Apache-2.0
//
// How a queue is made, and what is known of one.

#ifndef OPENMESSAGING_QUEUE_INFO_H_
#define OPENMESSAGING_QUEUE_INFO_H_

#include <cstdint>
#include <string>

namespace openmessaging {
inline namespace v0 {

// Fixed when the queue is created.
struct QueueOptions {
  // 1 to kMaxPartitions (1415). Messages of one key share one.
  int32_t partitions = 1;
};

struct QueueInfo {
  std::string name{};
  QueueOptions options{};
};

}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_QUEUE_INFO_H_
