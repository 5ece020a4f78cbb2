// SPDX-License-Identifier: Apache-2.0
//
// Names of queues, groups and namespaces.

#include "openmessaging/queue_name.h"

#include <cstddef>
#include <string>
#include <string_view>

#include "doctest/doctest.h"
#include "openmessaging/status.h"

namespace openmessaging::queue_name_test {
namespace {

using std::string_view_literals::operator""sv;

TEST_CASE("OMS-NAME-001: a name has 1 to 255 of the allowed characters") {
  for (const std::string& name :
       {std::string("a"), std::string("orders"), std::string("Az09._-"),
        std::string("oms"), std::string("omsx.y"), std::string("x.oms.y"),
        std::string("-"), std::string(255, 'q')}) {
    CAPTURE(name);
    CHECK(CheckQueueName(name).ok());
    CHECK(CheckGroupName(name).ok());
    CHECK(CheckNamespaceName(name).ok());
  }
}

TEST_CASE("OMS-NAME-001: every other byte is refused in every place") {
  for (int byte = 0; byte < 256; ++byte) {
    const char c = static_cast<char>(byte);
    const bool allowed =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"sv
            .find(c) != std::string_view::npos;
    CAPTURE(byte);
    for (const size_t place : {0, 1, 2}) {
      std::string name = "xyz";
      name[place] = c;

      CHECK(CheckQueueName(name).ok() == allowed);
      CHECK(CheckGroupName(name).ok() == allowed);
      CHECK(CheckNamespaceName(name).ok() == allowed);
      CHECK(CheckQueueName("ns://" + name).ok() == allowed);
      CHECK(CheckQueueName(name + "://q").ok() == allowed);
    }
  }
}

TEST_CASE("OMS-NAME-001: an empty or a long name is refused") {
  const std::string long_name(256, 'q');
  for (const std::string& name :
       {std::string(), long_name, "ns://" + long_name, long_name + "://q",
        std::string("://q"), std::string("ns://"), std::string("://"),
        std::string("a://b://c"), std::string("a:/b"), std::string("a/b")}) {
    CAPTURE(name);
    CHECK(OmsCode(CheckQueueName(name)) == Code::kBadParameter);
  }
  CHECK(OmsCode(CheckGroupName("")) == Code::kBadParameter);
  CHECK(OmsCode(CheckGroupName(long_name)) == Code::kBadParameter);
  CHECK(OmsCode(CheckGroupName("ns://group")) == Code::kBadParameter);
  CHECK(OmsCode(CheckNamespaceName("")) == Code::kBadParameter);
  CHECK(CheckQueueName(std::string(255, 'n') + "://" + std::string(255, 'q'))
            .ok());
}

TEST_CASE("OMS-NAME-002: the reserved prefix is refused in every part") {
  for (const char* const name :
       {"oms.", "oms.orders", "oms.ns://q", "ns://oms.q"}) {
    CAPTURE(name);
    CHECK(OmsCode(CheckQueueName(name)) == Code::kBadParameter);
  }
  CHECK(OmsCode(CheckGroupName("oms.g")) == Code::kBadParameter);
  CHECK(OmsCode(CheckNamespaceName("oms.n")) == Code::kBadParameter);
  CHECK(CheckQueueName("OMS.orders").ok());
}

TEST_CASE("OMS-NAME-001: the error says what is wrong on one ASCII line") {
  CHECK(CheckQueueName("caf\xC3\xA9\n").message() ==
        "check queue \"caf\\xc3\\xa9\\x0a\": character '\\xc3' at byte 3 is "
        "not allowed; expected 1 to 255 of [A-Za-z0-9._-], not starting with "
        "oms. (OMS-NAME-001)");
  CHECK(CheckGroupName("").message() ==
        "check group \"\": name is empty; expected 1 to 255 of "
        "[A-Za-z0-9._-], not starting with oms. (OMS-NAME-001)");
  CHECK(CheckQueueName("a b://q").message() ==
        "check namespace of queue \"a b://q\": character ' ' at byte 1 is not "
        "allowed; expected 1 to 255 of [A-Za-z0-9._-], not starting with oms. "
        "(OMS-NAME-001)");
  CHECK(CheckQueueName("ns://b d").message().find("at byte 6") !=
        std::string_view::npos);
  CHECK(CheckQueueName(std::string(1 << 20, 'x')).message().size() < 500);
}

TEST_CASE("OMS-NAME-003: a queue name is split into namespace and queue") {
  CHECK(ParseQueueName("orders").value() == QueueName{"", "orders"});
  CHECK(ParseQueueName("shop://orders").value() == QueueName{"shop", "orders"});
  CHECK(OmsCode(ParseQueueName("shop://").status()) == Code::kBadParameter);
  CHECK(OmsCode(ParseQueueName("://orders").status()) == Code::kBadParameter);
}

}  // namespace
}  // namespace openmessaging::queue_name_test
