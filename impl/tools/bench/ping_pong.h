// SPDX-License-Identifier: Apache-2.0
//
// A word that two processes pass to and fro: no message can be quicker.

#ifndef OPENMESSAGING_TOOLS_BENCH_PING_PONG_H_
#define OPENMESSAGING_TOOLS_BENCH_PING_PONG_H_

#include <sys/types.h>

#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace openmessaging::tools {

// This process and a child of it that answers.
//
// Threads: one. Lifetime: the destructor ends the child; the child ends too
// when this process dies.
class PingPong {
 public:
  // Errors: 1503 no process, no memory.
  static absl::StatusOr<std::unique_ptr<PingPong>> Start(bool spin);
  PingPong(const PingPong&) = delete;
  PingPong& operator=(const PingPong&) = delete;
  ~PingPong();

  // Sends the word and waits until it is back.
  // Returns: whether the way was the one that is asked for: with `spin` always;
  // otherwise the child has to be woken, but may be quick enough never to sleep
  // once it has answered without a sleep.
  // Errors: 1410 the child does not answer.
  absl::StatusOr<bool> Once();

  // Lets the child fall asleep.
  static void Pause();

 private:
  struct Table;

  PingPong(Table* table, bool spin) : table_(table), spin_(spin) {}
  [[noreturn]] void Answer(pid_t parent);

  Table* const table_;
  const bool spin_;
  pid_t child_ = -1;
};

}  // namespace openmessaging::tools
#endif  // OPENMESSAGING_TOOLS_BENCH_PING_PONG_H_
