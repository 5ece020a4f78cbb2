// SPDX-License-Identifier: Apache-2.0
//
// SQLite in C++: a file that is open, its transactions, and statements. The
// first error of a transaction is kept and undoes it, so that whoever writes
// statements need not look after each of them.

#ifndef DATABASE_H_
#define DATABASE_H_

#include <sqlite3.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "openmessaging/driver/call.h"
#include "openmessaging/status.h"

namespace sqlite {

namespace oms = openmessaging;
using openmessaging::driver::TimePoint;
using Clock = TimePoint::clock;

// Threads: Transact, WaitForChange and Wake from any thread; the rest within a
// transaction only.
class Database {
 public:
  // Makes the file, and the tables of `schema` in it, where they are not there.
  static absl::StatusOr<std::unique_ptr<Database>> Open(const std::string& path,
                                                        const char* schema);
  ~Database() { sqlite3_close(handle_); }
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  // Runs `work` alone, in this process and in all others, and keeps all that it
  // did or nothing. Waits for others until `deadline`.
  // Errors: what `work` answers; 1502 others were too slow; 1501 the disk:
  // where only the end of it failed, it may have been kept all the same.
  absl::Status Transact(TimePoint deadline,
                        const std::function<absl::Status()>& work);

  // Waits until this process has changed something, Wake was called, or for as
  // long as another process may go unnoticed; not beyond `deadline`.
  void WaitForChange(TimePoint deadline);
  void Wake();

  sqlite3* handle() const { return handle_; }
  int64_t last_row() const { return sqlite3_last_insert_rowid(handle_); }
  void Note(int result);

 private:
  Database() = default;
  static int OnBusy(void* self, int);
  void Run(const char* sql) {
    if (!error_.ok()) return;
    Note(sqlite3_exec(handle_, sql, nullptr, nullptr, nullptr));
  }

  sqlite3* handle_ = nullptr;
  std::mutex mutex_;  // Held through each transaction.
  TimePoint deadline_{};
  absl::Status error_{};
  oms::Outcome undone_{};  // What an error means for what was written.
  std::mutex change_mutex_;
  std::condition_variable change_;
};

// One statement and its rows. Texts that it is given end after it, texts that
// it gives with the next row.
class Query {
 public:
  template <typename... Values>
  Query(Database& database, const char* sql, const Values&... values)
      : database_(database) {
    database_.Note(
        sqlite3_prepare_v2(database.handle(), sql, -1, &statement_, nullptr));
    int column = 0;
    (BindOne(++column, values), ...);
  }
  ~Query() { sqlite3_finalize(statement_); }
  Query(const Query&) = delete;
  Query& operator=(const Query&) = delete;

  // Returns: whether there is another row.
  bool Next() {
    if (statement_ == nullptr) return false;
    const int result = sqlite3_step(statement_);
    if (result != SQLITE_DONE) database_.Note(result);
    return result == SQLITE_ROW;
  }
  int64_t Integer(int column) const {
    return sqlite3_column_int64(statement_, column);
  }
  std::string_view Bytes(int column) const {
    const auto* const data =
        static_cast<const char*>(sqlite3_column_blob(statement_, column));
    const int size = sqlite3_column_bytes(statement_, column);
    return {data, static_cast<size_t>(size)};
  }

 private:
  void BindOne(int column, int64_t value) {
    sqlite3_bind_int64(statement_, column, value);
  }
  void BindOne(int column, std::chrono::milliseconds value) {
    sqlite3_bind_int64(statement_, column, value.count());
  }
  // As bytes: a text would end at its first NUL.
  void BindOne(int column, std::string_view value) {
    sqlite3_bind_blob64(statement_, column, value.empty() ? "" : value.data(),
                        value.size(), SQLITE_STATIC);
  }

  Database& database_;
  sqlite3_stmt* statement_ = nullptr;
};

// Runs a statement that has no rows.
template <typename... Values>
void Execute(Database& database, const char* sql, const Values&... values) {
  Query(database, sql, values...).Next();
}

inline absl::StatusOr<std::unique_ptr<Database>> Database::Open(
    const std::string& path, const char* schema) {
  std::unique_ptr<Database> database(new Database());
  const int opened = sqlite3_open_v2(
      path.c_str(), &database->handle_,
      SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
      nullptr);
  if (opened != SQLITE_OK) {
    return oms::MakeStatus(oms::Code::kUnavailable, "open \"", path,
                           "\": ", sqlite3_errstr(opened));
  }
  sqlite3_extended_result_codes(database->handle_, 1);
  sqlite3_busy_handler(database->handle_, &OnBusy, database.get());
  database->deadline_ = Clock::now() + std::chrono::seconds(5);
  // Readers do not wait for who writes, and a commit is on the disk.
  database->Run("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL");
  if (!database->error_.ok()) return database->error_;
  absl::Status made = database->Transact(database->deadline_, [&] {
    database->Run(schema);
    return absl::OkStatus();
  });
  if (!made.ok()) return made;
  return database;
}

inline absl::Status Database::Transact(
    TimePoint deadline, const std::function<absl::Status()>& work) {
  const std::lock_guard lock(mutex_);
  deadline_ = deadline;
  error_ = absl::OkStatus();
  undone_ = oms::Outcome::kNotStored;
  const int changes = sqlite3_total_changes(handle_);
  Run("BEGIN IMMEDIATE");
  if (!error_.ok()) return error_;
  absl::Status outcome = work();
  if (outcome.ok()) outcome = error_;
  if (outcome.ok()) {
    undone_ = oms::Outcome::kUnknown;
    Run("COMMIT");
    outcome = error_;
  }
  if (!outcome.ok())
    sqlite3_exec(handle_, "ROLLBACK", nullptr, nullptr, nullptr);
  if (sqlite3_total_changes(handle_) != changes) Wake();
  return outcome;
}

inline void Database::WaitForChange(TimePoint deadline) {
  constexpr std::chrono::milliseconds kPoll{10};
  std::unique_lock lock(change_mutex_);
  change_.wait_until(lock, std::min(deadline, Clock::now() + kPoll));
}

inline void Database::Wake() {
  const std::lock_guard lock(change_mutex_);
  change_.notify_all();
}

inline int Database::OnBusy(void* self, int) {
  if (Clock::now() >= static_cast<Database*>(self)->deadline_) return 0;
  std::this_thread::sleep_for(std::chrono::milliseconds(1));
  return 1;
}

inline void Database::Note(int result) {
  if (result == SQLITE_OK || result == SQLITE_ROW || !error_.ok()) return;
  oms::Code code = oms::Code::kStorageError;
  if ((result & 0xff) == SQLITE_BUSY || (result & 0xff) == SQLITE_FULL) {
    code = oms::Code::kStorageBusy;
  }
  error_ = oms::MakeStatus(code, "use database: ", sqlite3_errmsg(handle_));
  oms::StatusDetail detail = oms::DefaultDetail(code);
  detail.outcome = undone_;
  detail.native = std::to_string(result);
  error_ = oms::WithDetail(error_, detail);
}

}  // namespace sqlite
#endif  // DATABASE_H_
