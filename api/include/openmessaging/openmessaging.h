// SPDX-License-Identifier: Apache-2.0
//
// All that an application needs. json.h is apart, because it needs a library
// that not every application has.

#ifndef OPENMESSAGING_OPENMESSAGING_H_
#define OPENMESSAGING_OPENMESSAGING_H_

// IWYU pragma: begin_exports
#include "openmessaging/attributes.h"
#include "openmessaging/bind_options.h"
#include "openmessaging/capability.h"
#include "openmessaging/dead_letter.h"
#include "openmessaging/delivery.h"
#include "openmessaging/future.h"
#include "openmessaging/interceptor.h"
#include "openmessaging/key_value.h"
#include "openmessaging/lifecycle.h"
#include "openmessaging/limits.h"
#include "openmessaging/local_transaction.h"
#include "openmessaging/message.h"
#include "openmessaging/message_id.h"
#include "openmessaging/messaging_access_point.h"
#include "openmessaging/prepared_message.h"
#include "openmessaging/producer.h"
#include "openmessaging/producer_options.h"
#include "openmessaging/pull_consumer.h"
#include "openmessaging/push_consumer.h"
#include "openmessaging/push_failure.h"
#include "openmessaging/queue_info.h"
#include "openmessaging/queue_name.h"
#include "openmessaging/queue_stats.h"
#include "openmessaging/receipt.h"
#include "openmessaging/requester.h"
#include "openmessaging/resource_manager.h"
#include "openmessaging/route.h"
#include "openmessaging/send_result.h"
#include "openmessaging/settler.h"
#include "openmessaging/status.h"
#include "openmessaging/stream_position.h"
#include "openmessaging/stream_reader.h"
#include "openmessaging/telemetry.h"
#include "openmessaging/trace_context.h"
#include "openmessaging/transaction.h"
#include "openmessaging/url.h"
#include "openmessaging/value.h"
#include "openmessaging/verdict.h"
// IWYU pragma: end_exports

#endif  // OPENMESSAGING_OPENMESSAGING_H_
