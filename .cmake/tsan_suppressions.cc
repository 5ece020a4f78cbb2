// SPDX-License-Identifier: Apache-2.0
//
// What ThreadSanitizer must not report, part of every program of the tsan
// preset. Distributions ship Abseil and librdkafka built without it, so it
// cannot see that the library counts the references of a status, a cord or a
// message before it deletes what they share.

extern "C" const char* __tsan_default_suppressions();

extern "C" const char* __tsan_default_suppressions() {
  return "race:libabsl_status.so\n"
         "race:libabsl_cord.so\n"
         "race:libabsl_cord_internal.so\n"
         // Where the library leaves its own frame for that of delete.
         "race:absl::*Status::Unref\n"
         "race:absl::*CordRep::Unref\n"
         // What the library itself allocates and frees, and its locks for
         // readers and writers; not what it calls.
         "called_from_lib:librdkafka.so\n"
         "race:mtx_lock\n";
}
