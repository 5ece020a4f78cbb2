// SPDX-License-Identifier: Apache-2.0

#include "native.h"

#include <array>
#include <thread>
#include <utility>

#include "openmessaging/status.h"

namespace openmessaging::kafka {
namespace {

void Destroy(rd_kafka_t* rk) {
  // The consumer has left its group already, or nobody waits for that.
  rd_kafka_destroy_flags(rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
}

}  // namespace

absl::StatusOr<std::shared_ptr<Handle>> Handle::Make(rd_kafka_type_t type,
                                                     OwnedConf conf) {
  std::array<char, 512> why{};
  rd_kafka_t* const rk = rd_kafka_new(type, conf.get(), why.data(), why.size());
  if (rk == nullptr) {
    // Its text names settings and never their values.
    return MakeStatus(Code::kBadParameter, "open a Kafka client: ",
                      std::string_view(why.data()));
  }
  (void)conf.release();  // The client's now.
  return std::make_shared<Handle>(rk);
}

Handle::~Handle() {
  if (rk_ != nullptr) std::thread(Destroy, rk_).detach();
}

void Handle::Release(std::shared_ptr<Handle> handle) {
  if (handle == nullptr || handle.use_count() != 1) return;
  Destroy(std::exchange(handle->rk_, nullptr));
}

}  // namespace openmessaging::kafka
