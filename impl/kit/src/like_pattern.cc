// SPDX-License-Identifier: Apache-2.0

#include "like_pattern.h"

#include <string.h>

#include <algorithm>

#include "openmessaging/internal/utf8.h"

namespace openmessaging::inline v0::kit {
namespace {

using internal::Utf8SequenceLength;

// Returns: the bytes of the first character of a text that is not empty.
size_t FirstLength(std::string_view text) {
  return std::max<size_t>(Utf8SequenceLength(text), 1);
}

// Returns: the bytes of the last one.
size_t LastLength(std::string_view text) {
  for (size_t length = 2; length <= std::min<size_t>(4, text.size());
       ++length) {
    if (Utf8SequenceLength(text.substr(text.size() - length)) == length) {
      return length;
    }
  }
  return 1;
}

// Finds `literal` in linear time. Returns: npos where it is not.
size_t Find(std::string_view text, std::string_view literal) {
  if (literal.empty()) return 0;
  if (literal.size() > text.size()) return std::string_view::npos;
  const void* const found =
      ::memmem(text.data(), text.size(), literal.data(), literal.size());
  if (found == nullptr) return std::string_view::npos;
  return static_cast<size_t>(static_cast<const char*>(found) - text.data());
}

}  // namespace

std::optional<LikePattern::Flaw> LikePattern::Compile(std::string_view pattern,
                                                      std::string_view escape) {
  pieces_.assign(1, Piece());
  pieces_.back().parts.emplace_back();
  for (size_t at = 0; at < pattern.size();) {
    size_t length = FirstLength(pattern.substr(at));
    std::string_view character = pattern.substr(at, length);
    const bool escaped = !escape.empty() && character == escape;
    if (escaped) {
      const size_t next = at + length;
      length = next < pattern.size() ? FirstLength(pattern.substr(next)) : 0;
      character = pattern.substr(next, length);
      if (character != "%" && character != "_" && character != escape) {
        return Flaw{at, "the escape stands before no wildcard",
                    "%, _ or the escape itself behind it"};
      }
      at = next;
    }
    at += length;
    if (!escaped && character == "%") {
      pieces_.emplace_back().parts.emplace_back();
      continue;
    }
    Piece& piece = pieces_.back();
    ++piece.characters;
    if (escaped || character != "_") {
      piece.parts.back().literal += character;
      continue;
    }
    piece.has_skip = true;
    if (!piece.parts.back().literal.empty()) piece.parts.emplace_back();
    ++piece.parts.back().skip;
  }
  for (size_t i = 1; i + 1 < pieces_.size(); ++i) {
    if (pieces_[i].has_skip && pieces_[i].characters > kMaxSearched) {
      return Flaw{0, "more than 64 characters with _ between two %", "fewer"};
    }
  }
  return std::nullopt;
}

// Matches the beginning of `text`. Returns: how many bytes that took.
std::optional<size_t> LikePattern::MatchFront(const Piece& piece,
                                              std::string_view text) {
  const size_t size = text.size();
  for (const Piece::Part& part : piece.parts) {
    for (size_t i = 0; i < part.skip; ++i) {
      if (text.empty()) return std::nullopt;
      text.remove_prefix(FirstLength(text));
    }
    if (!text.starts_with(part.literal)) return std::nullopt;
    text.remove_prefix(part.literal.size());
  }
  return size - text.size();
}

// Matches the end of `text`. Returns: how many bytes that took.
std::optional<size_t> LikePattern::MatchBack(const Piece& piece,
                                             std::string_view text) {
  const size_t size = text.size();
  for (auto part = piece.parts.rbegin(); part != piece.parts.rend(); ++part) {
    if (!text.ends_with(part->literal)) return std::nullopt;
    text.remove_suffix(part->literal.size());
    for (size_t i = 0; i < part->skip; ++i) {
      if (text.empty()) return std::nullopt;
      text.remove_suffix(LastLength(text));
    }
  }
  return size - text.size();
}

// Finds the first place of `piece`. Returns: where it ends.
std::optional<size_t> LikePattern::Search(const Piece& piece,
                                          std::string_view text) {
  if (!piece.has_skip) {
    const std::string& literal = piece.parts.front().literal;
    const size_t found = Find(text, literal);
    if (found == std::string_view::npos) return std::nullopt;
    return found + literal.size();
  }
  for (size_t at = 0; at < text.size(); at += FirstLength(text.substr(at))) {
    if (const auto length = MatchFront(piece, text.substr(at))) {
      return at + *length;
    }
  }
  return std::nullopt;
}

bool LikePattern::Matches(std::string_view text) const {
  const auto front = MatchFront(pieces_.front(), text);
  if (!front) return false;
  text.remove_prefix(*front);
  if (pieces_.size() == 1) return text.empty();
  const auto back = MatchBack(pieces_.back(), text);
  if (!back) return false;
  text.remove_suffix(*back);
  for (size_t i = 1; i + 1 < pieces_.size(); ++i) {
    const auto end = Search(pieces_[i], text);
    if (!end) return false;
    text.remove_prefix(*end);
  }
  return true;
}

}  // namespace openmessaging::inline v0::kit
