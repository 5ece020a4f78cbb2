// SPDX-License-Identifier: Apache-2.0
//
// StartThread makes the threads that the library runs.

#ifndef OPENMESSAGING_INTERNAL_THREAD_START_H_
#define OPENMESSAGING_INTERNAL_THREAD_START_H_

#include <signal.h>

#include <thread>
#include <utility>

namespace openmessaging {
inline namespace v0 {
namespace internal {

// Makes a thread that takes no signals: a process's signals are for the threads
// of the application, which may wait for them.
template <typename Function>
std::thread StartThread(Function function) {
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  std::thread thread(std::move(function));
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return thread;
}

}  // namespace internal
}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_INTERNAL_THREAD_START_H_
