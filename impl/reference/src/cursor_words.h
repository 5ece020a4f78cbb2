// SPDX-License-Identifier: Apache-2.0
//
// CursorWords finds what a cursor says of one message.

#ifndef OPENMESSAGING_REFERENCE_CURSOR_WORDS_H_
#define OPENMESSAGING_REFERENCE_CURSOR_WORDS_H_

#include <algorithm>
#include <cstdint>

#include "control.h"
#include "control_file.h"
#include "delivery_word.h"

namespace openmessaging::reference {

// Where the word of one message is, and its due time beside it.
struct DeliveryPlace {
  Shared<uint64_t>* word = nullptr;
  Shared<int64_t>* due = nullptr;

  explicit operator bool() const { return word != nullptr; }
  DeliveryWord Load() const { return DeliveryWord(word->Load()); }
};

// Threads: a value; what it points at is shared.
class CursorWords {
 public:
  CursorWords(const Control* control, const Cursor* cursor)
      : control_(control),
        cursor_(cursor),
        window_(control->header().options.window) {
    if (const uint64_t offset = cursor->window.Load(); offset != 0) {
      words_ = control->Get<Shared<uint64_t>>(offset);
      dues_ = reinterpret_cast<Shared<int64_t>*>(words_ + window_);
    }
  }

  bool has_window() const { return words_ != nullptr; }
  uint32_t window() const { return window_; }

  // Returns: the place that `offset` has in the window, whatever is there. The
  // cursor has a window.
  DeliveryPlace InWindow(uint64_t offset) const {
    return {&words_[offset % window_], &dues_[offset % window_]};
  }

  // Returns: the table of exceptions; nullptr where there is none yet.
  ExceptionTable* exceptions() const {
    const uint64_t offset = cursor_->exceptions.Load();
    return offset == 0 ? nullptr : control_->Get<ExceptionTable>(offset);
  }
  // Returns: how many entries may be in use, whatever the table says.
  uint32_t UsedExceptions() const {
    ExceptionTable* const table = exceptions();
    return table == nullptr ? 0 : std::min(table->used.Load(), window_);
  }
  DeliveryPlace FindException(uint64_t offset) const {
    for (uint32_t n = UsedExceptions(); n-- > 0;) {
      ExceptionEntry& entry = exceptions()->entry(n);
      if (entry.name.Load() == offset + 1) return {&entry.word, &entry.due};
    }
    return {};
  }

  // Returns: where `offset` is handed out or was; nothing if it is settled, or
  // never was handed out.
  DeliveryPlace Find(uint64_t offset) const {
    if (words_ == nullptr) return {};
    if (offset >= cursor_->floor.Load()) {
      const DeliveryPlace place = InWindow(offset);
      if (!place.Load().Is(offset)) return {};
      if (place.Load().state() != DeliveryState::kMoved) return place;
    }
    return FindException(offset);
  }

  // Settles `offset` whoever holds it. Idempotent.
  void Settle(uint64_t offset, uint32_t attempts) const {
    const uint64_t settled =
        DeliveryWord::Restored(offset, DeliveryState::kSettled, attempts)
            .bits();
    // A word is changed from here on by settling it, or by whoever moves it to
    // the exceptions, where it is found then.
    while (const DeliveryPlace place = Find(offset)) {
      uint64_t found = place.word->Load();
      if (!DeliveryWord(found).Is(offset) ||
          DeliveryWord(found).state() == DeliveryState::kSettled) {
        return;
      }
      if (DeliveryWord(found).state() == DeliveryState::kMoved) continue;
      if (place.word->CompareExchange(found, settled)) return;
    }
  }

  // Forgets everything and goes on at `offset`. Idempotent; under the append
  // lock, while nobody takes or gives back. Acknowledgements find their word
  // gone, if not now.
  void MoveTo(Cursor& cursor, uint64_t offset) const {
    // Whoever looks meanwhile sees a floor that is not below next: an image of
    // nothing, and of a number that does not count.
    if (offset < cursor.floor.Load()) {
      cursor.next.Store(offset);
      cursor.floor.Store(offset);
    } else {
      cursor.floor.Store(offset);
      cursor.next.Store(offset);
    }
    for (uint32_t n = 0; has_window() && n < window_; ++n) {
      words_[n].Store(0);
      dues_[n].Store(0);
    }
    for (uint32_t n = 0; n < UsedExceptions(); ++n) {
      exceptions()->entry(n).name.Store(0);
    }
    if (exceptions() != nullptr) exceptions()->used.Store(0);
    cursor.unlogged.Store(0);
    cursor.stalled.Store(0);
    cursor.once_from.Store(0);
    cursor.next_scan_ns.Store(INT64_MAX);
  }

 private:
  const Control* control_;
  const Cursor* cursor_;
  uint32_t window_;
  Shared<uint64_t>* words_ = nullptr;
  Shared<int64_t>* dues_ = nullptr;
};

}  // namespace openmessaging::reference
#endif  // OPENMESSAGING_REFERENCE_CURSOR_WORDS_H_
