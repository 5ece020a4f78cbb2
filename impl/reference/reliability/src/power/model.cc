// SPDX-License-Identifier: Apache-2.0

#include "power/model.h"

#include "openmessaging/internal/text.h"

namespace openmessaging::reference::power {
namespace {

using internal::Concat;

std::string PlaceOf(size_t place) {
  return place == kNever ? "never" : std::to_string(place);
}

std::string TextOf(std::string_view what, const Span& span) {
  if (span.began == kNever) return {};
  return Concat(", ", what, ' ', std::string_view(PlaceOf(span.began)), " to ",
                std::string_view(PlaceOf(span.ended)));
}

}  // namespace

std::string Tell(const Model& model) {
  std::string text;
  for (size_t n = 0; n < model.queues.size(); ++n) {
    text +=
        Concat("queue ", n, " \"", std::string_view(model.queues[n].name), '"',
               std::string_view(TextOf("made", model.queues[n].made)), '\n');
  }
  for (size_t n = 0; n < model.groups.size(); ++n) {
    const GroupFact& fact = model.groups[n];
    text += Concat("group ", n, " of queue ", fact.queue,
                   std::string_view(TextOf("made", fact.made)), '\n');
  }
  for (const RouteFact& fact : model.routes) {
    text += Concat("route ", fact.source, " to ", fact.target,
                   std::string_view(TextOf("made", fact.made)), '\n');
  }
  for (size_t n = 0; n < model.messages.size(); ++n) {
    const MessageFact& fact = model.messages[n];
    constexpr std::string_view kKinds[] = {"", "delayed ", "prepared "};
    text += Concat(kKinds[static_cast<size_t>(fact.kind)], "message ", n,
                   " to queue ", fact.queue, " partition ", fact.partition,
                   " offset ", fact.offset, fact.disk ? ", disk" : ", process",
                   fact.refused ? ", refused" : "", ", ", fact.body.size(),
                   " bytes", std::string_view(TextOf("sent", fact.sent)),
                   std::string_view(TextOf("committed", fact.committed)),
                   std::string_view(TextOf("rolled back", fact.rolled_back)),
                   std::string_view(TextOf("cancelled", fact.cancelled)), '\n');
  }
  for (const SettleFact& fact : model.settled) {
    text += Concat(fact.moves ? "perhaps moved" : "settled", " message ",
                   fact.message, " by group ", fact.group, " at ",
                   std::string_view(PlaceOf(fact.began)), ", for good at ",
                   std::string_view(PlaceOf(fact.durable)), '\n');
  }
  return text;
}

}  // namespace openmessaging::reference::power
