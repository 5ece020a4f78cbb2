// SPDX-License-Identifier: Apache-2.0

#include "kill/ledger.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <vector>

#include "openmessaging/internal/text.h"

namespace openmessaging::reference::kill {
namespace {

using internal::Concat;

uint64_t Mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15;
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
  x = (x ^ x >> 27) * 0x94d049bb133111eb;
  return x ^ x >> 31;
}

char* SharedBytes(size_t bytes) {
  void* const memory =
      ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
             MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) std::abort();
  return static_cast<char*>(memory);
}

}  // namespace

std::string BodyOf(uint64_t seed, Name name) {
  uint64_t state = Mix(seed ^ Mix(uint64_t{name.life} << 32 | name.number));
  // Most are small, some larger than what has a file of its own.
  const uint64_t most = state % 16 == 0 ? 3000 : 200;
  std::string body(sizeof(Name) + (state >> 8) % most, '\0');
  std::memcpy(body.data(), &name, sizeof(name));
  for (size_t at = sizeof(name); at < body.size(); at += sizeof(state)) {
    state = Mix(state);
    std::memcpy(body.data() + at, &state,
                std::min(sizeof(state), body.size() - at));
  }
  return body;
}

std::optional<Name> NameIn(uint64_t seed, std::string_view body) {
  Name name;
  if (body.size() < sizeof(name)) return std::nullopt;
  std::memcpy(&name, body.data(), sizeof(name));
  if (name.number >= kMostOfLife || body != BodyOf(seed, name)) {
    return std::nullopt;
  }
  return name;
}

Ledger* Ledger::Make(uint64_t seed, uint32_t lives) {
  auto* const ledger = new (SharedBytes(sizeof(Ledger))) Ledger();
  ledger->seed_ = seed;
  ledger->most_lives_ = lives;
  // Zeros are what each of them begins with.
  ledger->lives_at_ =
      reinterpret_cast<Life*>(SharedBytes(sizeof(Life) * (size_t{lives} + 1)));
  ledger->entries_ = reinterpret_cast<Entry*>(
      SharedBytes(sizeof(Entry) * (size_t{lives} + 1) * kMostOfLife));
  return ledger;
}

uint32_t Ledger::BeginLife() {
  const uint32_t life = lives_.fetch_add(1) + 1;
  if (life > most_lives_) std::abort();
  lives_at_[life].alive = 1;
  return life;
}

void Ledger::EndLife(uint32_t life) {
  lives_at_[life].killed_ns = NowNs();
  lives_at_[life].alive = 0;
}

uint32_t Ledger::Begin(uint32_t life, uint32_t count) {
  const uint32_t first = lives_at_[life].begun.load();
  const uint32_t end = std::min(first + count, kMostOfLife);
  lives_at_[life].begun = end;
  return end - first;
}

void Ledger::Sent(Name name, const Message& message, int64_t offset) {
  Entry& entry = At(name);
  uint32_t expected = 0;
  const auto place = static_cast<uint32_t>(offset + 1);
  if (!entry.offset.compare_exchange_strong(expected, place) &&
      expected != place) {
    Complain(Concat("sent to offset ", offset, " and received at ",
                    expected - 1, ", in ", message.destination()));
  }
  lives_at_[name.life].sent = name.number + 1;
}

Ledger::Entry* Ledger::Find(const Message& message) {
  const auto name = NameIn(seed_, message.body());
  if (!name || name->life > lives_.load() ||
      name->number >= lives_at_[name->life].begun.load()) {
    Complain(Concat("altered or invented: offset ", message.offset(), " of ",
                    message.destination()));
    return nullptr;
  }
  return &At(*name);
}

void Ledger::Place(std::atomic<uint32_t>& at, const Message& message,
                   std::string_view queue) {
  uint32_t expected = 0;
  const auto place = static_cast<uint32_t>(message.offset() + 1);
  if (!at.compare_exchange_strong(expected, place) && expected != place) {
    Complain(Concat("in ", queue, " twice: at ", expected - 1, " and ",
                    message.offset()));
  }
}

void Ledger::Came(uint32_t life, const Message& message) {
  Entry* const entry = Find(message);
  if (entry == nullptr) return;
  Place(entry->offset, message, "orders");
  const uint32_t flags = entry->flags.fetch_or(kCame);
  if ((flags & (kAcknowledged | kMoved | kDead)) != 0) {
    Complain(Concat("came again after it was ",
                    (flags & kDead) != 0 ? "buried" : "acknowledged",
                    ": offset ", message.offset()));
  }
  const uint32_t before = entry->holder.exchange(life);
  if (before == 0 || before == life) return;
  const Life& owner = lives_at_[before];
  if (owner.alive.load() != 0) {
    Complain(Concat("two living ones have offset ", message.offset()));
  } else {
    returned.Add(NowNs() - owner.killed_ns.load());
  }
}

void Ledger::Settling(const Message& message) {
  if (Entry* const entry = Find(message)) entry->holder = 0;
}

void Ledger::Acknowledged(const Message& message) {
  if (Entry* const entry = Find(message)) entry->flags.fetch_or(kAcknowledged);
}

void Ledger::Moved(const Message& message) {
  if (Entry* const entry = Find(message)) entry->flags.fetch_or(kMoved);
}

void Ledger::CameDead(const Message& message) {
  Entry* const entry = Find(message);
  if (entry == nullptr) return;
  Place(entry->dead_offset, message, "dead");
  if ((entry->flags.fetch_or(kDead) & (kAcknowledged | kMoved)) != 0) {
    Complain(
        Concat("buried and settled: offset ", message.offset(), " of dead"));
  }
}

void Ledger::CameMoved(const Message& message) {
  Entry* const entry = Find(message);
  if (entry == nullptr) return;
  Place(entry->moved_offset, message, "bills");
  entry->flags.fetch_or(kCameMoved);
}

void Ledger::Complain(std::string_view text) {
  const uint64_t n = complaints_.fetch_add(1);
  if (n < texts_.size()) {
    std::snprintf(texts_[n].data(), texts_[n].size(), "%.*s",
                  static_cast<int>(text.size()), text.data());
  }
}

std::string Ledger::Complaints() const {
  std::string all;
  for (const auto& text : texts_) {
    if (text[0] != '\0') all += std::string(text.data()) + "; ";
  }
  return all;
}

void Ledger::CheckLife(uint32_t life) {
  const uint32_t sent = lives_at_[life].sent.load();
  std::array<uint32_t, kOrderPartitions> last{};
  bool ended = false;
  for (uint32_t number = 0; number < kMostOfLife; ++number) {
    const Entry& entry = At({life, number});
    const uint32_t flags = entry.flags.load();
    const bool there = (flags & (kCame | kDead)) != 0;
    if (number < sent && !there) {
      Complain(Concat("lost: message ", number, " of life ", life));
    }
    if (there && ended) {
      Complain(Concat("no prefix: message ", number, " of life ", life));
    }
    ended = ended || !there;
    if ((flags & kMoved) != 0 && (flags & kCameMoved) == 0) {
      Complain(Concat("moved and lost: message ", number, " of life ", life));
    }
    if ((flags & kAcknowledged) != 0 && (flags & (kMoved | kCameMoved)) != 0) {
      Complain(Concat("acknowledged and moved: message ", number, " of life ",
                      life));
    }
    const uint32_t offset = entry.offset.load();
    if (!there || offset == 0) continue;
    uint32_t& before = last[number % kOrderPartitions];
    if (offset <= before) {
      Complain(Concat("out of order: message ", number, " of life ", life));
    }
    before = offset;
  }
}

void Ledger::CheckOrder() {
  std::array<std::vector<uint32_t>, kOrderPartitions> offsets;
  for (uint32_t life = 1; life <= lives_.load(); ++life) {
    for (uint32_t number = 0; number < kMostOfLife; ++number) {
      const uint32_t offset = At({life, number}).offset.load();
      if (offset != 0) offsets[number % kOrderPartitions].push_back(offset);
    }
  }
  for (auto& all : offsets) {
    std::sort(all.begin(), all.end());
    for (size_t n = 0; n < all.size(); ++n) {
      if (all[n] == n + 1) continue;
      Complain(Concat("offset ", n, " is missing or there twice"));
      break;
    }
  }
}

void Ledger::Check() {
  for (uint32_t life = 1; life <= lives_.load(); ++life) CheckLife(life);
  CheckOrder();
}

Ledger::Sums Ledger::Count() const {
  Sums sums;
  sums.lives = lives_.load();
  for (uint32_t life = 1; life <= sums.lives; ++life) {
    sums.acknowledged_sends += lives_at_[life].sent.load();
    for (uint32_t number = 0; number < kMostOfLife; ++number) {
      const uint32_t flags = At({life, number}).flags.load();
      sums.received += (flags & (kCame | kDead)) != 0 ? 1 : 0;
      sums.settled += (flags & kAcknowledged) != 0 ? 1 : 0;
      sums.moved += (flags & kCameMoved) != 0 ? 1 : 0;
      sums.dead += (flags & kDead) != 0 ? 1 : 0;
    }
  }
  return sums;
}

}  // namespace openmessaging::reference::kill
