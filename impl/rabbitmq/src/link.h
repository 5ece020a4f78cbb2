// SPDX-License-Identifier: Apache-2.0
//
// Link is one AMQP connection: it connects, comes back after a loss, and moves
// frames between the broker and channels. It has a thread of its own, and
// callers work in place of it where they would only wait.

#ifndef OPENMESSAGING_RABBITMQ_LINK_H_
#define OPENMESSAGING_RABBITMQ_LINK_H_

#include <amqp.h>

#include <atomic>
#include <chrono>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "channel.h"
#include "config.h"
#include "login.h"
#include "openmessaging/internal/mutex.h"
#include "openmessaging/kit/back_off.h"
#include "openmessaging/kit/io_thread.h"

namespace openmessaging::rabbitmq {

using TimePoint = std::chrono::steady_clock::time_point;

// Threads: what says "any thread" may be called from any; the rest by who has
// the link's turn (kit::IoThread), in a task or in a call of a channel. That is
// what "the link's thread" means everywhere here.
// Invariants:
//   (1) the AMQP connection is touched by who has the turn; others may only
//       shut its socket down, which ends a write that is stuck;
//   (2) a call is answered exactly once, with an error where the channel goes;
//   (3) while it is down, it tries again for as long as it has channels; but
//       once its credentials were refused, only when somebody asks for it;
//   (4) its own thread alone connects, and writes what may not fit the socket:
//       a caller blocks for what it waits for, and for nothing else.
class Link final : private kit::IoThread::Work {
 public:
  // `purpose` is for errors and for the broker's own lists.
  Link(const Config& config, std::string purpose);
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;
  ~Link();

  // --- any thread ---

  // Runs `task` on the link's own thread. Returns: false once it is stopped.
  bool Post(kit::IoThread::Task task) { return thread_.Post(std::move(task)); }

  // Runs `task`, which writes at most kMostHere bytes, before it returns where
  // that does not block; else posts it. Hold no lock. Returns: as Post.
  template <typename Task>
  bool Run(Task task) {
    if (!thread_.TryTakeTurn()) return Post(std::move(task));
    const bool here = CanWrite();
    if (here) task();
    thread_.GiveTurn();
    return here || Post(std::move(task));
  }
  static constexpr size_t kMostHere = size_t{8} << 10;

  // Reads what comes until `done()` or `deadline`, unless others do. Hold no
  // lock. Returns: false where others do, or it is stopped.
  template <typename Done>
  bool Await(const Done& done, TimePoint deadline) {
    return thread_.Await(done, deadline);
  }
  // Lets who is in Await see whether he is done.
  void Wake() { thread_.Wake(); }

  // Connects where it is not connected. Blocks.
  // Errors: 1401, 1403, 1503; 1410 at `deadline`.
  absl::Status Connect(TimePoint deadline) ABSL_LOCKS_EXCLUDED(mutex_);

  // Returns: what the broker said of itself when it was last connected to.
  ServerInfo server() const ABSL_LOCKS_EXCLUDED(mutex_);

  // Returns: whether the broker takes no messages now (an alarm).
  bool blocked() const { return blocked_.load(std::memory_order_relaxed); }

  // Ends the connection and the thread; what channels have asked for fails.
  // Past `deadline` a write that is stuck is cut. Called once.
  void Stop(TimePoint deadline) ABSL_LOCKS_EXCLUDED(mutex_);

  // --- the link's thread ---

  // Opens `channel`, now or as soon as there is a connection.
  void Attach(std::shared_ptr<Channel> channel);
  // Forgets it without a word to the broker; see Close.
  void Detach(const Channel& channel);
  // Opens it again after a refusal.
  void Reopen(const Channel& channel);
  // Closes it at the broker and opens it anew; its owner is told that it is
  // down.
  void Renew(const Channel& channel, const absl::Status& why);
  bool IsOpen(const Channel& channel) const;
  // Asks for the connection, where its credentials were refused.
  void Want();

  // Writes a method that has no answer: `sender(connection, id)` writes it, and
  // returns a status of rabbitmq-c. Returns: false where the channel is not
  // open, or the write broke the connection.
  template <typename Sender>
  bool Send(const Channel& channel, const Sender& sender) {
    const Slot* const slot = Find(channel);
    if (slot == nullptr || !slot->open) return false;
    return Check(sender(connection_, slot->id));
  }
  // Writes one that has.
  template <typename Sender>
  void Call(const Channel& channel, const Sender& sender, OnReply on_reply) {
    Slot* const slot = BeginCall(channel, on_reply);
    if (slot != nullptr) Check(sender(connection_, slot->id));
  }
  // Closes the channel at the broker and detaches it. `on_closed` may be empty.
  void Close(const Channel& channel, OnReply on_closed);

 private:
  // A channel, and what comes of its content.
  struct Slot {
    std::shared_ptr<Channel> channel;
    amqp_channel_t id = 0;
    bool opening = false;
    bool open = false;
    std::deque<OnReply> calls{};
    // The method that the content belongs to.
    amqp_method_t method{};
    amqp_basic_properties_t* properties = nullptr;
    uint64_t body_bytes = 0;
    std::string body{};
  };

  int Socket() override { return socket_.load(std::memory_order_relaxed); }
  TimePoint Turn(bool ready) override;

  // Returns: whether kMostHere bytes can be written now without waiting.
  bool CanWrite() const;
  // Notes a call. Returns: nullptr where it was answered, as it cannot be made.
  Slot* BeginCall(const Channel& channel, OnReply& on_reply);
  void Tick();
  void TryToConnect();
  void Disconnect(const absl::Status& why);
  void OpenSlot(Slot& slot);
  void Read();
  void Take(const amqp_frame_t& frame);
  void TakeLinkMethod(const amqp_method_t& method);
  void TakeMethod(Slot& slot, const amqp_method_t& method);
  void TakeHeader(Slot& slot, const amqp_frame_t& frame);
  void TakeBody(Slot& slot, std::string_view fragment);
  void Complete(Slot& slot, std::string_view body, std::string* owned);
  void Answer(Slot& slot, const absl::StatusOr<Reply>& reply);
  void Refuse(Slot& slot, const amqp_channel_close_t& close);
  void Fail(Slot& slot, const absl::Status& why, bool refused);
  void FailAll(const absl::Status& why);
  // Returns: the host that is or was connected to.
  std::string Where() const;
  Slot* Find(const Channel& channel);
  const Slot* Find(const Channel& channel) const;
  // Cuts the connection where a write failed.
  bool Check(int written);
  // Tells those who wait in Connect.
  void Tell(bool connected, const absl::Status& status)
      ABSL_LOCKS_EXCLUDED(mutex_);

  // Constant after construction.
  const Config config_;
  const std::string purpose_;

  // Who has the turn.
  amqp_connection_state_t connection_ = nullptr;
  std::map<amqp_channel_t, Slot> slots_;
  amqp_channel_t last_id_ = 0;
  size_t next_host_ = 0;
  bool wanted_ = false;
  TimePoint next_attempt_{};
  kit::BackOff back_off_;
  TimePoint next_tick_{};

  // Any thread.
  std::atomic<bool> blocked_{false};
  std::atomic<int> socket_{-1};

  mutable internal::Mutex mutex_;
  internal::Condition changed_;
  bool connected_ ABSL_GUARDED_BY(mutex_) = false;
  uint64_t attempts_ ABSL_GUARDED_BY(mutex_) = 0;  // That have ended.
  absl::Status last_error_ ABSL_GUARDED_BY(mutex_);
  ServerInfo server_ ABSL_GUARDED_BY(mutex_);

  kit::IoThread thread_;  // Last: it uses the rest.
};

}  // namespace openmessaging::rabbitmq
#endif  // OPENMESSAGING_RABBITMQ_LINK_H_
