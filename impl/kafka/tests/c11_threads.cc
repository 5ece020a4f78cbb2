// SPDX-License-Identifier: Apache-2.0
//
// librdkafka takes its threads and locks from <threads.h>, of which the thread
// sanitizer knows nothing: a thread that it did not see begin ends the process
// at the first instrumented call. Under the sanitizer these stand in front of
// the C library's, and go by way of pthreads, which it knows.

#if defined(__SANITIZE_THREAD__)

#include <pthread.h>
#include <threads.h>

#include <cerrno>
#include <cstdint>
#include <memory>

namespace {

static_assert(sizeof(mtx_t) >= sizeof(pthread_mutex_t));
static_assert(sizeof(cnd_t) >= sizeof(pthread_cond_t));

pthread_mutex_t* Mutex(mtx_t* mutex) {
  return reinterpret_cast<pthread_mutex_t*>(mutex);
}
pthread_cond_t* Condition(cnd_t* condition) {
  return reinterpret_cast<pthread_cond_t*>(condition);
}

int Result(int error) {
  switch (error) {
    case 0:
      return thrd_success;
    case EBUSY:
      return thrd_busy;
    case ENOMEM:
      return thrd_nomem;
    case ETIMEDOUT:
      return thrd_timedout;
    default:
      return thrd_error;
  }
}

struct Start {
  thrd_start_t function;
  void* argument;
};

void* Begin(void* start) {
  const std::unique_ptr<Start> owned(static_cast<Start*>(start));
  const Start copy = *owned;
  return reinterpret_cast<void*>(
      static_cast<intptr_t>(copy.function(copy.argument)));
}

}  // namespace

extern "C" {

int thrd_create(thrd_t* thread, thrd_start_t function, void* argument) {
  auto start = std::make_unique<Start>(Start{function, argument});
  const int error = pthread_create(thread, nullptr, Begin, start.get());
  if (error == 0) (void)start.release();
  return Result(error);
}

int thrd_join(thrd_t thread, int* result) {
  void* value = nullptr;
  const int error = pthread_join(thread, &value);
  if (result != nullptr) {
    *result = static_cast<int>(reinterpret_cast<intptr_t>(value));
  }
  return Result(error);
}

int mtx_init(mtx_t* mutex, int type) {
  pthread_mutexattr_t kind;
  pthread_mutexattr_init(&kind);
  if ((type & mtx_recursive) != 0) {
    pthread_mutexattr_settype(&kind, PTHREAD_MUTEX_RECURSIVE);
  }
  const int error = pthread_mutex_init(Mutex(mutex), &kind);
  pthread_mutexattr_destroy(&kind);
  return Result(error);
}

void mtx_destroy(mtx_t* mutex) {
  pthread_mutex_destroy(Mutex(mutex));
}

int mtx_lock(mtx_t* mutex) { return Result(pthread_mutex_lock(Mutex(mutex))); }

int mtx_unlock(mtx_t* mutex) {
  return Result(pthread_mutex_unlock(Mutex(mutex)));
}

int cnd_init(cnd_t* condition) {
  return Result(pthread_cond_init(Condition(condition), nullptr));
}

void cnd_destroy(cnd_t* condition) {
  pthread_cond_destroy(Condition(condition));
}

int cnd_signal(cnd_t* condition) {
  return Result(pthread_cond_signal(Condition(condition)));
}

int cnd_broadcast(cnd_t* condition) {
  return Result(pthread_cond_broadcast(Condition(condition)));
}

int cnd_wait(cnd_t* condition, mtx_t* mutex) {
  return Result(pthread_cond_wait(Condition(condition), Mutex(mutex)));
}

int cnd_timedwait(cnd_t* condition, mtx_t* mutex, const timespec* until) {
  return Result(
      pthread_cond_timedwait(Condition(condition), Mutex(mutex), until));
}

}  // extern "C"

#endif  // __SANITIZE_THREAD__
