// SPDX-License-Identifier: Apache-2.0
//
// What a driver's shared library exports, and the tag by which a program sees
// that it may call it. Registry loads one, and registry.h has what makes one.

#ifndef OPENMESSAGING_DRIVER_ABI_TAG_H_
#define OPENMESSAGING_DRIVER_ABI_TAG_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/base/config.h"
#include "absl/base/options.h"
#include "absl/status/status.h"
#include "openmessaging/driver/connection.h"
#include "openmessaging/internal/text.h"
#include "openmessaging/message.h"
#include "openmessaging/queue_info.h"
#include "openmessaging/send_result.h"

namespace openmessaging {
inline namespace v0 {
namespace driver {

class Registry;

// What a driver's library exports as openmessaging_driver_library(), by C's
// rules. A program reads `abi_tag` first, and the rest only where it is its
// own.
struct Library {
  const char* abi_tag;
  // Adds the drivers of the library to `registry`.
  void (*enter)(Registry& registry, absl::Status& status);
};

// Changes whenever a class that drivers implement, or one that they are called
// with, changes in a way that a compiler does not tell.
inline constexpr int kInterfaceVersion = 1;

}  // namespace driver

namespace internal {

// FNV-1a over the sizes and alignments of what crosses to a driver.
template <typename... Types>
constexpr uint64_t LayoutHash() {
  uint64_t hash = 0xcbf29ce484222325;
  for (const size_t number : {sizeof(Types)..., alignof(Types)...}) {
    hash = (hash ^ number) * 0x100000001b3;
  }
  return hash;
}

// What the compiler says of itself. A compiler that is none of these has a tag
// that equals its own only.
#if defined(__SANITIZE_ADDRESS__)
inline constexpr std::string_view kSanitizer = "address";
#elif defined(__SANITIZE_THREAD__)
inline constexpr std::string_view kSanitizer = "thread";
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
inline constexpr std::string_view kSanitizer = "address";
#elif __has_feature(thread_sanitizer)
inline constexpr std::string_view kSanitizer = "thread";
#else
inline constexpr std::string_view kSanitizer = "none";
#endif
#else
inline constexpr std::string_view kSanitizer = "none";
#endif

#if defined(__clang__)
inline constexpr std::string_view kCompiler = "clang";
inline constexpr int kCompilerVersion = __clang_major__;
#elif defined(__GNUC__)
inline constexpr std::string_view kCompiler = "gcc";
inline constexpr int kCompilerVersion = __GNUC__;
#else
inline constexpr std::string_view kCompiler = "other";
inline constexpr int kCompilerVersion = 0;
#endif

#if defined(_GLIBCXX_RELEASE)
inline constexpr std::string_view kStandardLibrary = "libstdc++";
inline constexpr int kStandardLibraryVersion = _GLIBCXX_RELEASE;
inline constexpr int kStandardLibraryAbi = _GLIBCXX_USE_CXX11_ABI;
#elif defined(_LIBCPP_VERSION)
inline constexpr std::string_view kStandardLibrary = "libc++";
inline constexpr int kStandardLibraryVersion = _LIBCPP_VERSION;
inline constexpr int kStandardLibraryAbi = _LIBCPP_ABI_VERSION;
#else
inline constexpr std::string_view kStandardLibrary = "other";
inline constexpr int kStandardLibraryVersion = 0;
inline constexpr int kStandardLibraryAbi = 0;
#endif

#if defined(_GLIBCXX_DEBUG)
inline constexpr bool kDebugContainers = true;
#else
inline constexpr bool kDebugContainers = false;
#endif

#if defined(__cpp_exceptions)
inline constexpr bool kExceptions = true;
#else
inline constexpr bool kExceptions = false;
#endif

#if defined(ABSL_LTS_RELEASE_VERSION)
inline constexpr int kAbseilRelease = ABSL_LTS_RELEASE_VERSION;
#else
inline constexpr int kAbseilRelease = 0;
#endif

}  // namespace internal

namespace driver {

// Returns: what must be the same in a program and in a driver's library so that
// C++ objects may cross: the interface, the compiler, the standard library, the
// language, Abseil and its options, and the layouts of what crosses.
// Lifetime: that of the program. Threads: any.
// Implements: OMS-DRV-019.
inline const std::string& AbiTag() {
  static const std::string tag = internal::Concat(
      "interface ", kInterfaceVersion, "; compiler ", internal::kCompiler, " ",
      internal::kCompilerVersion, "; ", internal::kStandardLibrary, " ",
      internal::kStandardLibraryVersion, " abi ", internal::kStandardLibraryAbi,
      " debug ", static_cast<int>(internal::kDebugContainers), "; c++ ",
      int64_t{__cplusplus}, "; exceptions ",
      static_cast<int>(internal::kExceptions), "; sanitizer ",
      internal::kSanitizer, "; abseil ", internal::kAbseilRelease, " options ",
      ABSL_OPTION_USE_STD_ANY, ABSL_OPTION_USE_STD_OPTIONAL,
      ABSL_OPTION_USE_STD_STRING_VIEW, ABSL_OPTION_USE_STD_VARIANT,
      ABSL_OPTION_USE_INLINE_NAMESPACE, ABSL_OPTION_HARDENED, "; layout ",
      internal::LayoutHash<Message, KeyValue, Value, Attributes, Url,
                           Capabilities, DriverInfo, CallContext,
                           ProducerOptions, ConsumerOptions, Receipt,
                           SendResult, QueueOptions, Settlement>());
  return tag;
}

}  // namespace driver
}  // namespace v0
}  // namespace openmessaging

#endif  // OPENMESSAGING_DRIVER_ABI_TAG_H_
