// SPDX-License-Identifier: Apache-2.0

#include "shared_edits.h"

#include <cstddef>
#include <cstdint>
#include <vector>

#include "control.h"
#include "hostile_files.h"
#include "index.h"

namespace openmessaging::reference {
namespace {

using fuzz::Input;

// Words of a file that are not zero: of the others most are never used.
std::vector<uint32_t> UsedWords(const std::string& bytes) {
  std::vector<uint32_t> used;
  for (size_t at = 0; at + 8 <= bytes.size(); at += 8) {
    if (LoadAt<uint64_t>(bytes, at) != 0) {
      used.push_back(static_cast<uint32_t>(at));
    }
  }
  return used;
}

void ChangeWord(Input& input, std::string& bytes,
                const std::vector<uint32_t>& used) {
  if (used.empty()) return;
  size_t at = used[input.Pick(used.size())];
  switch (input.Pick(8)) {
    case 0:  // Beside it, where zero is meant.
      at += 8 * input.Byte();
      break;
    case 1:
      at += 4;
      ChangeNumber(input, bytes, at, 4);
      return;
    case 2:
      ChangeNumber(input, bytes, at, 4);
      return;
    case 3: {  // What another word says.
      const auto value = LoadAt<uint64_t>(bytes, used[input.Pick(used.size())]);
      StoreAt(bytes, at, value);
      return;
    }
    default:
      break;
  }
  ChangeNumber(input, bytes, at, 8);
}

// An entry of the index with a check that is right.
void ForgeEntry(Input& input, std::string& idx) {
  const size_t extents = idx.size() / kPage;
  if (extents < 2) return;
  const size_t extent = (1 + input.Pick(extents - 1)) * kPage;
  const size_t n = input.Pick(IndexExtent::kEntries);
  const size_t at =
      extent + offsetof(IndexExtent, entries) + n * sizeof(IndexEntry);
  ChangeNumber(input, idx, at, 8);
  const auto place = LoadAt<uint64_t>(idx, at);
  const auto owner =
      LoadAt<uint32_t>(idx, extent + offsetof(IndexExtent, queue_partition));
  const uint64_t offset =
      LoadAt<uint64_t>(idx, extent + offsetof(IndexExtent, first_offset)) + n;
  StoreAt(idx, at + 8,
          LoadAt<uint32_t>(idx, at + 8) |
              uint64_t{IndexCheckOf(owner, offset, place)} << 32);
}

// A page as it was once, or as another one is.
void ReplacePage(Input& input, std::string& bytes, const std::string& name) {
  const auto& earlier = Samples::Get().store.earlier;
  const size_t to = input.Pick(bytes.size() / kPage) * kPage;
  const size_t from = input.Pick(bytes.size() / kPage) * kPage;
  const damage::Image& old = earlier[input.Pick(earlier.size())];
  const std::string source =
      input.Pick(2) == 0 || !old.Has(name) ? bytes : old.Of(name);
  if (from + kPage > source.size() || to + kPage > bytes.size()) return;
  bytes.replace(to, kPage, source, from, kPage);
}

}  // namespace

void EditControl(Input& input, std::string& ctl) {
  static const std::vector<uint32_t> used =
      UsedWords(Samples::Get().store.crashed.Of("ctl"));
  if (input.Pick(4) == 0) {
    ReplacePage(input, ctl, "ctl");
  } else {
    ChangeWord(input, ctl, used);
  }
}

void EditIndex(Input& input, std::string& idx) {
  static const std::vector<uint32_t> used =
      UsedWords(Samples::Get().store.crashed.Of("idx"));
  switch (input.Pick(4)) {
    case 0:
      ForgeEntry(input, idx);
      break;
    case 1:
      ReplacePage(input, idx, "idx");
      break;
    default:
      ChangeWord(input, idx, used);
  }
}

}  // namespace openmessaging::reference
