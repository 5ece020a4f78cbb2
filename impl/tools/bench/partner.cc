// SPDX-License-Identifier: Apache-2.0

#include "partner.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "measure.h"
#include "openmessaging/internal/mutex.h"
#include "openmessaging/internal/text.h"
#include "openmessaging/internal/utf8.h"

extern char** environ;

namespace openmessaging::tools {
namespace {

using internal::Concat;
using std::chrono::milliseconds;
using std::chrono::seconds;

// How long one look for a message lasts; between two a stop is noticed.
constexpr milliseconds kLook{100};
// How long an end waits for the other one, which may have nothing to do but
// does not sleep.
constexpr seconds kPatience{10};

absl::Status Silence() {
  return MakeStatus(Code::kTimeout,
                    "measure: nothing came from the other end for 10 s; "
                    "expected its messages");
}

// Receives batches until the last message. `answer`: called for each batch
// before it is acknowledged.
template <typename Answer>
absl::StatusOr<PartnerReport> ReceiveAll(PullConsumer& consumer, size_t batch,
                                         const std::atomic<bool>& stop,
                                         const Answer& answer) {
  std::vector<Delivery> deliveries(batch);
  PartnerReport report;
  int empty_looks = 0;
  for (bool last = false; !last;) {
    if (stop.load(std::memory_order_relaxed)) {
      return MakeStatus(Code::kCancelled, "measure: interrupted");
    }
    const auto count = consumer.ReceiveBatch(std::span(deliveries), kLook);
    if (!count.ok()) return count.status();
    if (*count == 0) {
      if (++empty_looks * kLook > kPatience) return Silence();
      continue;
    }
    empty_looks = 0;
    const auto received = std::span(deliveries).first(*count);
    last = received.back()->body().starts_with(kLastMessage);
    if (!last) {
      if (auto status = answer(received); !status.ok()) return status;
    }
    if (received.size() == 1) {
      if (auto status = received[0].Ack(); !status.ok()) return status;
    } else {
      for (const absl::Status& status : consumer.Ack(received)) {
        if (!status.ok()) return status;
      }
    }
    report.messages += received.size();
  }
  report.done_ns = NowNs();
  return report;
}

}  // namespace

absl::StatusOr<MessagingAccessPoint> ConnectWith(const std::string& url,
                                                 Wait wait) {
  Attributes attributes;
  // Block is what everybody does who says nothing.
  if (wait == Wait::kSpin) {
    if (auto status = attributes.Set("wait", "spin"); !status.ok()) {
      return status;
    }
  }
  return MessagingAccessPoint::Connect(url, attributes);
}

absl::StatusOr<PartnerReport> RunTask(const PartnerTask& task,
                                      const std::atomic<bool>& stop,
                                      const std::function<void()>& ready) {
  auto bus = ConnectWith(task.url, task.wait);
  if (!bus.ok()) return bus.status();
  auto consumer = bus->CreatePullConsumer();
  if (!consumer.ok()) return consumer.status();
  if (auto status = consumer->Bind(task.queue); !status.ok()) return status;
  if (task.reply_queue.empty()) {
    ready();
    return ReceiveAll(*consumer, task.batch, stop,
                      [](std::span<const Delivery>) -> absl::Status {
                        return absl::OkStatus();
                      });
  }
  auto producer = bus->CreateProducer();
  if (!producer.ok()) return producer.status();
  if (auto status = producer->Start(); !status.ok()) return status;
  Message reply(task.reply_queue, std::string(task.size_bytes, kMessage));
  reply.SetDurability(task.durability);
  ready();
  return ReceiveAll(*consumer, 1, stop, [&](std::span<const Delivery>) {
    return producer->Send(reply).status();
  });
}

namespace {

class ThreadPartner final : public Partner {
 public:
  explicit ThreadPartner(PartnerTask task)
      : task_(std::move(task)), thread_([this] { Run(); }) {}
  ThreadPartner(const ThreadPartner&) = delete;
  ThreadPartner& operator=(const ThreadPartner&) = delete;
  ~ThreadPartner() override {
    stop_.store(true);
    if (thread_.joinable()) thread_.join();
  }

  absl::Status WaitReady() {
    const internal::MutexLock lock(mutex_);
    while (!ready_ && !done_) changed_.Wait(mutex_);
    return ready_ ? absl::OkStatus() : result_.status();
  }

  absl::StatusOr<PartnerReport> Finish() override {
    thread_.join();
    const internal::MutexLock lock(mutex_);
    return result_;
  }

 private:
  void Run() {
    auto result = RunTask(task_, stop_, [this] {
      const internal::MutexLock lock(mutex_);
      ready_ = true;
      changed_.NotifyAll();
    });
    const internal::MutexLock lock(mutex_);
    result_ = std::move(result);
    done_ = true;
    changed_.NotifyAll();
  }

  const PartnerTask task_;
  std::atomic<bool> stop_{false};
  internal::Mutex mutex_;
  internal::Condition changed_;
  bool ready_ ABSL_GUARDED_BY(mutex_) = false;
  bool done_ ABSL_GUARDED_BY(mutex_) = false;
  absl::StatusOr<PartnerReport> result_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;  // The last member: it uses the others.
};

// The second process writes one line when it is ready, and one at its end:
//   ready
//   done <messages> <nanoseconds>   or   failed <code> <text>
class ProcessPartner final : public Partner {
 public:
  // Takes both over.
  ProcessPartner(pid_t child, int out) : child_(child), out_(out) {}
  ProcessPartner(const ProcessPartner&) = delete;
  ProcessPartner& operator=(const ProcessPartner&) = delete;
  ~ProcessPartner() override {
    ::kill(child_, SIGKILL);
    while (::waitpid(child_, nullptr, 0) < 0 && errno == EINTR) {
    }
    ::close(out_);
  }

  static absl::StatusOr<std::unique_ptr<ProcessPartner>> Spawn(
      const PartnerTask& task);

  absl::Status WaitReady() {
    const auto line = ReadLine();
    if (!line.ok()) return line.status();
    return *line == "ready" ? absl::OkStatus() : FailureIn(*line);
  }

  absl::StatusOr<PartnerReport> Finish() override {
    const auto line = ReadLine();
    if (!line.ok()) return line.status();
    PartnerReport report;
    std::string_view text = *line;
    constexpr std::string_view kDoneWord = "done ";
    if (!text.starts_with(kDoneWord)) return FailureIn(text);
    text.remove_prefix(kDoneWord.size());
    const size_t space = text.find(' ');
    if (space == std::string_view::npos ||
        !internal::ParseInteger(text.substr(0, space), report.messages) ||
        !internal::ParseInteger(text.substr(space + 1), report.done_ns)) {
      return FailureIn(text);
    }
    return report;
  }

 private:
  // What a line says that is not the one expected.
  static absl::Status FailureIn(std::string_view line) {
    constexpr std::string_view kFailedWord = "failed ";
    int code = 0;
    if (line.starts_with(kFailedWord)) {
      line.remove_prefix(kFailedWord.size());
      const size_t space = line.find(' ');
      if (space != std::string_view::npos &&
          internal::ParseInteger(line.substr(0, space), code)) {
        return MakeStatus(static_cast<Code>(code), line.substr(space + 1));
      }
    }
    return MakeStatus(Code::kBrokerError, "run \"second process\": it says \"",
                      internal::Printable(line), "\"; expected its result");
  }

  absl::StatusOr<std::string> ReadLine() {
    const int64_t end_ns =
        NowNs() + 2 * std::chrono::nanoseconds(kPatience).count();
    for (;;) {
      if (const size_t end = read_.find('\n'); end != std::string::npos) {
        std::string line = read_.substr(0, end);
        read_.erase(0, end + 1);
        return line;
      }
      if (auto status = CheckInterrupted(); !status.ok()) return status;
      if (NowNs() > end_ns) return Silence();
      pollfd input{out_, POLLIN, 0};
      if (::poll(&input, 1, static_cast<int>(kLook.count())) <= 0) continue;
      std::array<char, 4096> some{};
      const ssize_t count = ::read(out_, some.data(), some.size());
      if (count < 0 && errno == EINTR) continue;
      if (count <= 0) {
        return MakeStatus(Code::kBrokerError,
                          "run \"second process\": it ended; expected its "
                          "result");
      }
      read_.append(some.data(), static_cast<size_t>(count));
    }
  }

  const pid_t child_;
  const int out_;
  std::string read_;
};

absl::Status SpawnError(int error) {
  return MakeStatus(Code::kUnavailable, "start \"second process\": ",
                    std::string_view(std::strerror(error)),
                    "; expected room for one more process");
}

absl::StatusOr<std::unique_ptr<ProcessPartner>> ProcessPartner::Spawn(
    const PartnerTask& task) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return SpawnError(errno);
  std::vector<std::string> arguments = {
      "oms-bench",
      kSecondProcess,
      task.url,
      task.queue,
      task.reply_queue,
      Concat(task.size_bytes),
      Concat(task.batch),
      Concat(static_cast<int>(task.durability)),
      Concat(static_cast<int>(task.wait)),
      Concat(::getpid())};
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  pid_t child = -1;
  const int error = ::posix_spawn(&child, "/proc/self/exe", &actions, nullptr,
                                  argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  ::close(ends[1]);
  if (error != 0) {
    ::close(ends[0]);
    return SpawnError(error);
  }
  return std::make_unique<ProcessPartner>(child, ends[0]);
}

template <typename Kind>
absl::StatusOr<std::unique_ptr<Partner>> Ready(std::unique_ptr<Kind> partner) {
  if (auto status = partner->WaitReady(); !status.ok()) return status;
  return std::unique_ptr<Partner>(std::move(partner));
}

// Returns: false where the arguments are not those that Spawn() gives.
bool ReadTask(std::span<char* const> arguments, PartnerTask& task,
              pid_t& parent) {
  int durability = 0;
  int wait = 0;
  if (arguments.size() != 8 ||
      !internal::ParseInteger(arguments[3], task.size_bytes) ||
      !internal::ParseInteger(arguments[4], task.batch) || task.batch == 0 ||
      !internal::ParseInteger(arguments[5], durability) || durability < 0 ||
      durability > 3 || !internal::ParseInteger(arguments[6], wait) ||
      wait < 0 || wait > 2 || !internal::ParseInteger(arguments[7], parent)) {
    return false;
  }
  task.url = arguments[0];
  task.queue = arguments[1];
  task.reply_queue = arguments[2];
  task.durability = static_cast<Durability>(durability);
  task.wait = static_cast<Wait>(wait);
  return true;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Partner>> Partner::Start(Place place,
                                                        PartnerTask task) {
  if (place == Place::kThreads) {
    return Ready(std::make_unique<ThreadPartner>(std::move(task)));
  }
  auto process = ProcessPartner::Spawn(task);
  if (!process.ok()) return process.status();
  return Ready(*std::move(process));
}

int RunSecondProcess(int argc, char** argv) {
  PartnerTask task;
  pid_t parent = 0;
  if (!ReadTask(std::span(argv + 2, static_cast<size_t>(argc - 2)), task,
                parent)) {
    std::fputs("oms-bench: second-process is for oms-bench itself\n", stderr);
    return 2;
  }
  // It ends with the first one, which alone minds an interrupt.
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) return 1;
  std::signal(SIGINT, SIG_IGN);
  std::signal(SIGHUP, SIG_IGN);

  const std::atomic<bool> stop{false};
  const auto say = [](const std::string& line) {
    std::fputs(line.c_str(), stdout);
    std::fflush(stdout);
  };
  const auto report = RunTask(task, stop, [&] { say("ready\n"); });
  if (!report.ok()) {
    const absl::string_view text = report.status().message();
    say(Concat("failed ", static_cast<int>(OmsCode(report.status())), ' ',
               std::string_view(text.data(), text.size()), '\n'));
    return 1;
  }
  say(Concat("done ", report->messages, ' ', report->done_ns, '\n'));
  return 0;
}

}  // namespace openmessaging::tools
