// SPDX-License-Identifier: Apache-2.0
//
// BindOptions say what a consumer wants of a queue that it binds.

#ifndef OPENMESSAGING_BIND_OPTIONS_H_
#define OPENMESSAGING_BIND_OPTIONS_H_

#include <string>

namespace openmessaging {
inline namespace v0 {

struct BindOptions {
  // An SQL condition over properties and header fields, in the language of JMS
  // selectors: "kind = 'order' AND price > 100". Empty: every message.
  //
  // It belongs to the group in that queue: members that live at one time have
  // the same. What it is not true for counts as settled by the group, once its
  // turn comes, and is not kept for a time when the filter is another one.
  std::string filter{};
};

}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_BIND_OPTIONS_H_
