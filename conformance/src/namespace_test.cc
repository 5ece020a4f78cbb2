// SPDX-License-Identifier: Apache-2.0
//
// Namespaces keep queues apart.

#include <algorithm>

#include "context.h"
#include "registry.h"

namespace openmessaging::conformance::namespace_test {
namespace {

using internal::Concat;

constexpr auto kNamespaces = Capability::kNamespaces;

// A namespace that ends with the test, with the one queue of it.
class TestNamespace {
 public:
  explicit TestNamespace(Context& t)
      : resources_(t.resources()),
        name_(t.NewName("ns")),
        queue_(Concat(std::string_view(name_), "://orders")) {
    RequireOk(resources_.CreateNamespace(name_), "create a namespace");
  }
  TestNamespace(const TestNamespace&) = delete;
  TestNamespace& operator=(const TestNamespace&) = delete;
  ~TestNamespace() {
    (void)resources_.DeleteQueue(queue_);
    (void)resources_.DeleteNamespace(name_);
  }

  void MakeQueue() { RequireOk(resources_.CreateQueue(queue_), "create"); }
  const std::string& name() const { return name_; }
  const std::string& queue() const { return queue_; }

 private:
  ResourceManager resources_;
  const std::string name_;
  const std::string queue_;
};

bool HasNamespace(const Context& t, const std::string& name) {
  const auto all = Must(t.resources().ListNamespaces(), "list namespaces");
  return std::find(all.begin(), all.end(), name) != all.end();
}

}  // namespace

OMS_CONFORMANCE_TEST("OMS-NS-001", kAdmin, kNamespaces,
                     "namespaces are created and listed and deleted") {
  const std::string name = t.NewName("ns");
  ResourceManager resources = t.resources();
  Require(!HasNamespace(t, name), "it is listed before it is created");
  RequireOk(resources.CreateNamespace(name), "create");
  Require(HasNamespace(t, name), "what was created is not listed");
  RequireOk(resources.DeleteNamespace(name), "delete");
  Require(!HasNamespace(t, name), "what was deleted is listed");
}

OMS_CONFORMANCE_TEST("OMS-NS-002", kAdmin, kNamespaces,
                     "what is there twice or missing is refused") {
  const TestNamespace space(t);
  const std::string missing = t.NewName("missing");
  ResourceManager resources = t.resources();
  RequireCode(resources.CreateNamespace(space.name()), Code::kNamespaceExists,
              "create it again");
  RequireCode(resources.DeleteNamespace(missing), Code::kNamespaceNotFound,
              "delete a missing one");
  RequireCode(resources.CreateQueue(Concat(std::string_view(missing), "://q")),
              Code::kNamespaceNotFound, "a queue of a missing one");
  RequireCode(resources.CreateNamespace("not a name"), Code::kBadParameter,
              "a bad name");
}

OMS_CONFORMANCE_TEST("OMS-NS-003", kAdmin, kNamespaces,
                     "equal names share no messages") {
  TestNamespace a(t);
  TestNamespace b(t);
  a.MakeQueue();
  b.MakeQueue();
  t.Send(a.queue(), "of a");
  t.Send(b.queue(), "of b");
  PullConsumer from_a = t.NewConsumer(a.queue());
  PullConsumer from_b = t.NewConsumer(b.queue());
  RequireEqual(t.TakeUntilSentinel(from_a, a.queue()), {"of a"}, "one queue");
  RequireEqual(t.TakeUntilSentinel(from_b, b.queue()), {"of b"},
               "the other queue");
}

OMS_CONFORMANCE_TEST("OMS-NS-004", kAdmin, kNamespaces,
                     "namespaces over the declared number are 1417") {
  constexpr int32_t kMostToTry = 2000;
  const auto most =
      t.CapabilitiesOf(t.NewQueue()).limits().max_namespaces.value_or(
          kMaxNamespaces);
  if (most > kMostToTry) Skip("there may be too many to make");
  ResourceManager resources = t.resources();
  Bodies made;
  absl::Status refused;
  while (refused.ok() && made.size() <= static_cast<size_t>(most)) {
    const std::string name = t.NewName("ns");
    refused = resources.CreateNamespace(name);
    if (refused.ok()) made.push_back(name);
  }
  for (const std::string& name : made) (void)resources.DeleteNamespace(name);
  RequireCode(refused, Code::kTooManyNamespaces, "one namespace too many");
}

}  // namespace openmessaging::conformance::namespace_test
