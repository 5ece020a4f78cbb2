// SPDX-License-Identifier: Apache-2.0

#include "schedules/word_names.h"

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>

#include "control.h"
#include "schedules/memory.h"

namespace openmessaging::reference::schedules {
namespace {

struct Name {
  size_t offset = 0;
  const char* text = nullptr;
};

#define OPENMESSAGING_WORD(member) \
  { offsetof(ControlHeader, member), #member }
constexpr Name kHeader[] = {
    OPENMESSAGING_WORD(state),
    OPENMESSAGING_WORD(poisoned),
    OPENMESSAGING_WORD(bump),
    OPENMESSAGING_WORD(size),
    OPENMESSAGING_WORD(append.lock),
    OPENMESSAGING_WORD(append.intent_begin),
    OPENMESSAGING_WORD(append.intent_end),
    OPENMESSAGING_WORD(append.tail),
    OPENMESSAGING_WORD(append.sequence),
    OPENMESSAGING_WORD(append.chain),
    OPENMESSAGING_WORD(append.current),
    OPENMESSAGING_WORD(append.index_bump),
    OPENMESSAGING_WORD(append.next_queue),
    OPENMESSAGING_WORD(append.next_group),
    OPENMESSAGING_WORD(committed.end),
    OPENMESSAGING_WORD(flush.lock),
    OPENMESSAGING_WORD(flush.bell),
    OPENMESSAGING_WORD(flush.waiters),
    OPENMESSAGING_WORD(flush.durable),
    OPENMESSAGING_WORD(flush.flushes),
    OPENMESSAGING_WORD(catalog.lock),
    OPENMESSAGING_WORD(catalog.prepare),
    OPENMESSAGING_WORD(catalog.retire),
    OPENMESSAGING_WORD(catalog.version),
    OPENMESSAGING_WORD(catalog.count),
    OPENMESSAGING_WORD(catalog.first_page),
    OPENMESSAGING_WORD(catalog.first_segment),
    OPENMESSAGING_WORD(catalog.end_segment),
    OPENMESSAGING_WORD(catalog.reserved_segment),
    OPENMESSAGING_WORD(catalog.bindings),
    OPENMESSAGING_WORD(catalog.bodies_from),
};
#undef OPENMESSAGING_WORD

std::string Numbered(const char* what, uint64_t number, uint64_t offset) {
  return what + std::to_string(number) + "+" + std::to_string(offset);
}

std::string NameInControl(const ControlHeader& header, uint64_t offset) {
  for (const Name& name : kHeader) {
    if (name.offset == offset) return std::string("ctl.") + name.text;
  }
  if (offset >= header.slots && offset < header.bells) {
    const uint64_t at = offset - header.slots;
    return Numbered("ctl.slot ", at / sizeof(Slot), at % sizeof(Slot));
  }
  if (offset >= header.bells && offset < header.segments) {
    const uint64_t at = offset - header.bells;
    return Numbered("ctl.bell ", at / sizeof(Bell), at % sizeof(Bell));
  }
  return "ctl+" + std::to_string(offset);
}

}  // namespace

std::string NameOfWord(const void* word) {
  const Memory& memory = Memory::Get();
  const uint32_t file = memory.FileOf(word);
  if (file == Memory::kMaxFiles) {
    char text[40];
    std::snprintf(text, sizeof(text), "%p", word);
    return text;
  }
  const char* const bytes = memory.FileBytes(file);
  const auto offset =
      static_cast<uint64_t>(static_cast<const char*>(word) - bytes);
  uint64_t magic = 0;
  std::memcpy(&magic, bytes, sizeof(magic));
  if (magic == ControlHeader::kMagic) {
    return NameInControl(*reinterpret_cast<const ControlHeader*>(bytes),
                         offset);
  }
  return Numbered("file ", file, offset);
}

}  // namespace openmessaging::reference::schedules
