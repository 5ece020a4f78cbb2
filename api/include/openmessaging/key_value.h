// SPDX-License-Identifier: Apache-2.0
//
// KeyValue is a small collection of named, typed values: the properties of a
// message. KeyValueView reads one where it lies, without a copy. Both hold the
// encoded form that internal/key_value_codec.h describes, so equal content has
// equal bytes, in the order of the keys.

#ifndef OPENMESSAGING_KEY_VALUE_H_
#define OPENMESSAGING_KEY_VALUE_H_

#include <cstddef>
#include <functional>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "openmessaging/internal/key_value_codec.h"
#include "openmessaging/internal/utf8.h"
#include "openmessaging/limits.h"
#include "openmessaging/status.h"
#include "openmessaging/value.h"

namespace openmessaging {
inline namespace v0 {

// Reads an encoded KeyValue. Obtain one from Message::properties(), from a
// KeyValue, or from bytes with Parse().
//
// A view of bytes that nobody checked is safe: it reads up to the first damage
// and never beyond the bytes.
//
// Threads: const methods may run together, as long as nobody edits the bytes.
// Lifetime: borrows the bytes; so do the keys, text and views read from it.
// Implements: OMS-KV-001 to OMS-KV-004, OMS-KV-008, OMS-KV-009.
class KeyValueView {
 public:
  using View = KeyValueView;

  struct Entry {
    std::string_view key;
    Value value;
  };
  class Iterator;

  KeyValueView() = default;
  // Takes bytes that are known to be good, such as those of another view.
  explicit KeyValueView(std::string_view trusted) : encoded_(trusted) {}

  // Checks bytes of unknown origin in full, nested ones included.
  // Errors: kDataLoss 1609: malformed, out of order, not UTF-8, or too deep.
  // Implements: OMS-KV-008.
  [[nodiscard]] static absl::StatusOr<KeyValueView> Parse(
      std::string_view bytes);

  // Returns: how many keys there are. Counts them: linear.
  size_t size() const;
  bool empty() const;
  bool Contains(std::string_view key) const;

  // Returns: the value of exactly that key, upper and lower case distinct.
  std::optional<Value> Find(std::string_view key) const;

  // Reads a value as T, by the table at IsConvertible() in value.h.
  // Errors: kInvalidArgument 1418: no such key, or its type does not convert.
  // Implements: OMS-KV-002, OMS-KV-003.
  template <ValueReadable T>
  [[nodiscard]] absl::StatusOr<T> Get(std::string_view key) const;

  // Returns: `fallback` where Get would fail.
  // Implements: OMS-KV-002.
  template <ValueReadable T>
  T GetOr(std::string_view key, T fallback) const;
  std::string_view GetOr(std::string_view key, const char* fallback) const;

  // Returns: 1 for a flat collection, 2 with one level of nesting, and so on;
  // at most 9, which is one more than is allowed.
  int Depth() const { return internal::KeyValueDepth(encoded_); }

  // Returns: the bytes behind the view.
  std::string_view encoded() const { return encoded_; }

  // Entries in the order of their keys.
  Iterator begin() const;
  Iterator end() const;

  operator Value() const {  // NOLINT(google-explicit-constructor): nesting.
    return internal::ValueAccess::Make(ValueType::kKeyValue, encoded_);
  }

  // Equal keys, types and bytes: NaN equals the same NaN, 0.0 is not -0.0.
  friend bool operator==(KeyValueView a, KeyValueView b) {
    return a.encoded_ == b.encoded_;
  }

 private:
  std::string_view encoded_;
};

// Walks over the entries of a view; a forward iterator of C++20.
class KeyValueView::Iterator {
 public:
  using iterator_concept = std::forward_iterator_tag;
  using iterator_category = std::input_iterator_tag;
  using difference_type = std::ptrdiff_t;
  using value_type = Entry;
  using reference = Entry;
  using pointer = void;

  Iterator() = default;

  Entry operator*() const { return {entry_->key, entry_->value}; }
  Iterator& operator++() {
    entry_ = internal::TakeEntry(rest_);
    return *this;
  }
  Iterator operator++(int) {
    Iterator old = *this;
    ++*this;
    return old;
  }
  friend bool operator==(const Iterator& a, const Iterator& b) {
    if (!a.entry_ || !b.entry_) return !a.entry_ && !b.entry_;
    return a.rest_.size() == b.rest_.size();
  }

 private:
  friend class KeyValueView;
  explicit Iterator(std::string_view encoded) : rest_(encoded) { ++*this; }

  std::string_view rest_;
  std::optional<internal::DecodedEntry> entry_;  // Nothing at the end.
};

// Owns a collection and edits it. Keys are UTF-8, case sensitive and not
// empty. How many keys and bytes a message may carry is checked when it is
// sent; how deep collections nest is checked by Put.
//
// Threads: const methods may run together; others need the caller's lock.
// Lifetime: a value. What was read as a view of it ends with the next edit.
// Implements: OMS-KV-001 to OMS-KV-010.
class KeyValue {
 public:
  using View = KeyValueView;
  using Entry = KeyValueView::Entry;

  KeyValue() = default;
  explicit KeyValue(KeyValueView source) : encoded_(source.encoded()) {}

  operator KeyValueView() const {  // NOLINT(google-explicit-constructor)
    return view();
  }
  operator Value() const {  // NOLINT(google-explicit-constructor)
    return view();
  }
  KeyValueView view() const { return KeyValueView(encoded_); }

  // Sets `key` to `value`, which is copied; an existing key gets the new type
  // too. Both may be views of this same collection.
  // Errors: and nothing is changed:
  //   kInvalidArgument  1418: the key is empty; key or string is not UTF-8
  //   kInvalidArgument  1411: nesting would be over 8 levels
  // Implements: OMS-KV-004, OMS-KV-005, OMS-KV-006, OMS-KV-007.
  [[nodiscard]] absl::Status Put(std::string_view key, Value value);

  // Returns: whether the key was there.
  bool Remove(std::string_view key);
  void Clear() { encoded_.clear(); }

  // As in KeyValueView.
  size_t size() const { return view().size(); }
  bool empty() const { return view().empty(); }
  bool Contains(std::string_view key) const { return view().Contains(key); }
  std::optional<Value> Find(std::string_view key) const {
    return view().Find(key);
  }
  template <ValueReadable T>
  [[nodiscard]] absl::StatusOr<T> Get(std::string_view key) const {
    return view().template Get<T>(key);
  }
  template <ValueReadable T>
  T GetOr(std::string_view key, T fallback) const {
    return view().template GetOr<T>(key, std::move(fallback));
  }
  std::string_view GetOr(std::string_view key, const char* fallback) const {
    return view().GetOr(key, fallback);
  }
  int Depth() const { return view().Depth(); }
  std::string_view encoded() const { return encoded_; }
  KeyValueView::Iterator begin() const { return view().begin(); }
  KeyValueView::Iterator end() const { return view().end(); }

  friend bool operator==(const KeyValue&, const KeyValue&) = default;

 private:
  bool Overlaps(std::string_view text) const;

  std::string encoded_;
};

inline absl::StatusOr<KeyValueView> KeyValueView::Parse(
    std::string_view bytes) {
  const internal::KeyValueFlaw flaw = internal::FindFlaw(bytes);
  if (flaw.what == nullptr) return KeyValueView(bytes);
  return MakeStatus(Code::kDamaged, "parse key values \"", bytes.size(),
                    " bytes\": ", flaw.what, ", at byte ", flaw.offset,
                    "; expected sorted entries, at most ", kMaxPropertiesDepth,
                    " levels deep (OMS-KV-008)");
}

inline size_t KeyValueView::size() const {
  std::string_view rest = encoded_;
  size_t count = 0;
  while (internal::TakeEntry(rest)) ++count;
  return count;
}

inline bool KeyValueView::empty() const {
  std::string_view rest = encoded_;
  return !internal::TakeEntry(rest);
}

inline bool KeyValueView::Contains(std::string_view key) const {
  return internal::LocateEntry(encoded_, key).found;
}

inline std::optional<Value> KeyValueView::Find(std::string_view key) const {
  const internal::EntrySpan span = internal::LocateEntry(encoded_, key);
  if (!span.found) return std::nullopt;
  std::string_view rest = encoded_.substr(span.begin);
  return internal::TakeEntry(rest)->value;
}

template <ValueReadable T>
absl::StatusOr<T> KeyValueView::Get(std::string_view key) const {
  const std::optional<Value> value = Find(key);
  if (!value) {
    return MakeStatus(Code::kBadParameter, "get \"", internal::Printable(key),
                      "\": no such key; expected ",
                      ValueTypeName(ValueTypeOf<T>()), " (OMS-KV-002)");
  }
  std::optional<T> result = value->template As<T>();
  if (!result) {
    return MakeStatus(Code::kBadParameter, "get \"", internal::Printable(key),
                      "\": value is ", ValueTypeName(value->type()),
                      "; expected a type that converts to ",
                      ValueTypeName(ValueTypeOf<T>()),
                      " without loss (OMS-KV-003)");
  }
  return *std::move(result);
}

template <ValueReadable T>
T KeyValueView::GetOr(std::string_view key, T fallback) const {
  const std::optional<Value> value = Find(key);
  if (!value) return fallback;
  std::optional<T> result = value->template As<T>();
  return result ? *std::move(result) : std::move(fallback);
}

inline std::string_view KeyValueView::GetOr(std::string_view key,
                                            const char* fallback) const {
  return GetOr<std::string_view>(key, fallback);
}

inline KeyValueView::Iterator KeyValueView::begin() const {
  return Iterator(encoded_);
}

inline KeyValueView::Iterator KeyValueView::end() const { return {}; }

inline absl::Status KeyValue::Put(std::string_view key, Value value) {
  if (absl::Status status = internal::CheckEntry(key, value); !status.ok()) {
    return status;
  }
  const size_t size = internal::EncodedEntrySize(key, value);
  const internal::EntrySpan span = internal::LocateEntry(encoded_, key);
  if (Overlaps(key) || (internal::ValueAccess::IsView(value) &&
                        Overlaps(internal::ValueAccess::View(value)))) {
    std::string entry(size, '\0');
    internal::EncodeEntry(entry.data(), key, value);
    encoded_.replace(span.begin, span.end - span.begin, entry);
    return absl::OkStatus();
  }
  encoded_.replace(span.begin, span.end - span.begin, size, '\0');
  internal::EncodeEntry(encoded_.data() + span.begin, key, value);
  return absl::OkStatus();
}

inline bool KeyValue::Remove(std::string_view key) {
  const internal::EntrySpan span = internal::LocateEntry(encoded_, key);
  encoded_.erase(span.begin, span.end - span.begin);
  return span.found;
}

// Views may point into encoded_, whose bytes are about to move.
inline bool KeyValue::Overlaps(std::string_view text) const {
  const std::less<const char*> before;
  return !text.empty() &&
         before(text.data(), encoded_.data() + encoded_.size()) &&
         before(encoded_.data(), text.data() + text.size());
}

}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_KEY_VALUE_H_
