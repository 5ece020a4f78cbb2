// SPDX-License-Identifier: Apache-2.0
//
// RunUserCode calls a function of the application's and survives it.

#ifndef OPENMESSAGING_INTERNAL_USER_CODE_H_
#define OPENMESSAGING_INTERNAL_USER_CODE_H_

#include <utility>

namespace openmessaging {
inline namespace v0 {
namespace internal {

// Returns: false when `function` threw: nothing may be thrown through a driver
// or out of a thread of the library's. Works where exceptions are switched off.
template <typename Function>
bool RunUserCode(Function&& function) {
#if defined(__cpp_exceptions)
  try {
    std::forward<Function>(function)();
    return true;
  } catch (...) {  // NOLINT(bugprone-empty-catch): the caller tells by `false`.
    return false;
  }
#else
  std::forward<Function>(function)();
  return true;
#endif
}

}  // namespace internal
}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_INTERNAL_USER_CODE_H_
