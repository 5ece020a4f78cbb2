// SPDX-License-Identifier: Apache-2.0
//
// A route: what enters one queue is copied to another one.

#ifndef OPENMESSAGING_ROUTE_H_
#define OPENMESSAGING_ROUTE_H_

#include <string>

namespace openmessaging {
inline namespace v0 {

// What enters `source` and matches `filter` enters `target` as well, with its id
// and its origin, and so follows the routes of `target` in turn. Source and
// copies are stored together or not at all. A queue gets one copy of a message,
// however many ways lead to it.
struct Route {
  std::string source{};
  std::string target{};

  // An SQL condition (docs/design/filter.md) over the message as it enters
  // `source`; what only storing decides, such as its id, is null. Empty: all.
  std::string filter{};
};

}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_ROUTE_H_
