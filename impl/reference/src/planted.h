// SPDX-License-Identifier: Apache-2.0
//
// OMS_PLANTED(kFlushDropped) is where a bug is planted on purpose, to show that
// the tests find it. The engine that ships has none: it is `false` there, and
// nothing is left of it. A build with OPENMESSAGING_PLANTED_BUGS has the one
// bug that the environment names, OMS_PLANTED=FlushDropped; what there are, and
// what finds them, is in reliability/src/planted/.

#ifndef OPENMESSAGING_REFERENCE_PLANTED_H_
#define OPENMESSAGING_REFERENCE_PLANTED_H_

#ifdef OPENMESSAGING_PLANTED_BUGS
#include "planted/bugs.h"

#define OMS_PLANTED(bug)                      \
  (::openmessaging::reference::planted_bug == \
   ::openmessaging::reference::PlantedBug::bug)
#else
#define OMS_PLANTED(bug) false
#endif

#endif  // OPENMESSAGING_REFERENCE_PLANTED_H_
