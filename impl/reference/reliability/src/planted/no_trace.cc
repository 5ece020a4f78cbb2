// SPDX-License-Identifier: Apache-2.0
//
// For programs that use the traced engine and trace nothing.

#include "env/shared.h"

namespace openmessaging::reference {

thread_local void (*shared_word_hook)(const void* word, size_t bytes,
                                      SharedOperation operation) = nullptr;

}  // namespace openmessaging::reference
