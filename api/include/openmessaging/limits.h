// SPDX-License-Identifier: Apache-2.0
//
// The portable limits, checked before a driver is called. A store or broker may
// be configured below or above them where it says so (capability.h).

#ifndef OPENMESSAGING_LIMITS_H_
#define OPENMESSAGING_LIMITS_H_

#include <cstddef>
#include <cstdint>

namespace openmessaging {
inline namespace v0 {

inline constexpr size_t kDefaultMaxBodyBytes = size_t{4} << 20;  // 1413
inline constexpr size_t kMaxBodyBytes = size_t{64} << 20;        // 1413
inline constexpr size_t kMaxHeaderBytes = size_t{16} << 10;      // 1412
inline constexpr size_t kMaxPropertiesBytes = size_t{64} << 10;  // 1411
inline constexpr size_t kMaxProperties = 1024;                   // 1411
inline constexpr int kMaxPropertiesDepth = 8;                    // 1411
inline constexpr int32_t kMaxPartitions = 1024;                  // 1415
inline constexpr int32_t kMaxQueues = 65536;                     // 1416
inline constexpr int32_t kMaxNamespaces = 1024;                  // 1417
inline constexpr size_t kMaxNameBytes = 255;                     // 1418

}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_LIMITS_H_
