// SPDX-License-Identifier: Apache-2.0
//
// A driver in a shared library, for library_test.cc. It is built several times,
// each time with something else that is wrong with it.

#include <memory>
#include <utility>

#include "absl/status/statusor.h"
#include "openmessaging/driver/registry.h"
#include "openmessaging/status.h"

namespace openmessaging {
namespace {

class PluginDriver final : public driver::Driver {
 public:
  driver::DriverInfo Info() const override {
    return {.name = LIBRARY_DRIVER_NAME,
            .version = "0.1.0",
            .specification = "1.0.0"};
  }
  absl::StatusOr<std::unique_ptr<driver::Connection>> Connect(
      const Url& url, const Attributes& /*attributes*/,
      driver::TimePoint /*deadline*/) override {
    return MakeStatus(Code::kUnavailable, "connect \"oms:", url.driver(),
                      "\": the library answers");
  }
};

}  // namespace
}  // namespace openmessaging

#if defined(LIBRARY_NEEDS_CLIENT)
// Of a client library that is not there.
extern "C" void* broker_client_connect();
extern void* (*const client)();
void* (*const client)() = &broker_client_connect;
#endif

#if !defined(LIBRARY_HAS_NO_ENTRY)
OPENMESSAGING_DRIVER_LIBRARY(std::make_shared<openmessaging::PluginDriver>())
#endif
