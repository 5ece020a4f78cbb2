// SPDX-License-Identifier: Apache-2.0
//
// Pages that are brought in before they are used.

#ifndef OPENMESSAGING_REFERENCE_ENV_PAGES_H_
#define OPENMESSAGING_REFERENCE_ENV_PAGES_H_

#include <sys/mman.h>

#include <cstddef>

namespace openmessaging::reference {

// Maps the pages that hold [begin, end) behind `data`, which begins a page. No
// byte changes, so that it may run beside any reader or writer; a store of the
// same value could not. A kernel before 5.14 says no, and then the first use
// costs what it did.
inline void TouchPages(char* data, size_t begin, size_t end, bool for_write) {
#if defined(MADV_POPULATE_READ) && defined(MADV_POPULATE_WRITE)
  constexpr size_t kPageBytes = 4096;
  begin -= begin % kPageBytes;
  if (begin >= end) return;
  madvise(data + begin, end - begin,
          for_write ? MADV_POPULATE_WRITE : MADV_POPULATE_READ);
#else
  static_cast<void>(data + begin + end + for_write);
#endif
}

}  // namespace openmessaging::reference
#endif  // OPENMESSAGING_REFERENCE_ENV_PAGES_H_
