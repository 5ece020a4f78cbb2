// SPDX-License-Identifier: Apache-2.0
//
// The grammar, as rules of PEGTL. It needs one character to decide, or one
// word, so that no alternative is tried again over more than that. Errors are
// no exceptions: each rule that an error can name notes that it was missed, and
// the place farthest to the right is what went wrong.

#include "filter_parser.h"

#include <string>
#include <string_view>
#include <type_traits>

#include "filter_builder.h"
#include "openmessaging/internal/utf8.h"
#include "openmessaging/status.h"
#include "tao/pegtl.hpp"

namespace openmessaging::inline v0::kit {
namespace {

namespace pegtl = tao::pegtl;

// --- Rules with a memory -----------------------------------------------------

// Matches `Rule`, or notes that it was expected.
template <typename Rule, Expected kExpected>
struct Named {
  using rule_t = Named;
  using subs_t = pegtl::type_list<Rule>;

  template <pegtl::apply_mode A, pegtl::rewind_mode M,
            template <typename...> class Action,
            template <typename...> class Control, typename Input>
  static bool match(Input& in, FilterBuilder& builder) {
    const char* const place = in.current();
    if (Control<Rule>::template match<A, M, Action, Control>(in, builder)) {
      return true;
    }
    builder.Missed(place, kExpected);
    return false;
  }
};

// Matches `Rule` one level deeper, as long as that is allowed.
template <typename Rule>
struct Nested {
  using rule_t = Nested;
  using subs_t = pegtl::type_list<Rule>;

  template <pegtl::apply_mode A, pegtl::rewind_mode M,
            template <typename...> class Action,
            template <typename...> class Control, typename Input>
  static bool match(Input& in, FilterBuilder& builder) {
    if (!builder.Enter(in.current())) return false;
    const bool matched =
        Control<Rule>::template match<A, M, Action, Control>(in, builder);
    builder.Leave();
    return matched;
  }
};

// --- Words -------------------------------------------------------------------

struct Blank : pegtl::one<' ', '\t', '\n', '\r', '\f', '\v'> {};
struct Blanks : pegtl::star<Blank> {};
struct WordFirst : pegtl::ranges<'a', 'z', 'A', 'Z', '_', '_', '$', '$'> {};
struct WordRest : pegtl::ranges<'a', 'z', 'A', 'Z', '0', '9', '_', '_', '$',
                                '$', '.', '.'> {};

// A rule and the blanks behind it.
template <typename Rule>
struct Token : pegtl::seq<Rule, Blanks> {};
template <char... kCharacters>
struct Sign : Token<pegtl::string<kCharacters...>> {};
template <char... kLetters>
struct Letters
    : pegtl::seq<pegtl::istring<kLetters...>, pegtl::not_at<WordRest>> {};

struct And : Letters<'A', 'N', 'D'> {};
struct Or : Letters<'O', 'R'> {};
struct NotWord : Letters<'N', 'O', 'T'> {};
struct BetweenWord : Letters<'B', 'E', 'T', 'W', 'E', 'E', 'N'> {};
struct InWord : Letters<'I', 'N'> {};
struct LikeWord : Letters<'L', 'I', 'K', 'E'> {};
struct EscapeWord : Letters<'E', 'S', 'C', 'A', 'P', 'E'> {};
struct IsWord : Letters<'I', 'S'> {};
struct NullWord : Letters<'N', 'U', 'L', 'L'> {};
struct TrueWord : Letters<'T', 'R', 'U', 'E'> {};
struct FalseWord : Letters<'F', 'A', 'L', 'S', 'E'> {};
struct Keyword : pegtl::sor<And, Or, NotWord, BetweenWord, InWord, LikeWord,
                            EscapeWord, IsWord, NullWord, TrueWord, FalseWord> {
};

// --- Literals and names ------------------------------------------------------

template <char kQuote>
struct Quoted : pegtl::seq<pegtl::one<kQuote>,
                           pegtl::star<pegtl::sor<pegtl::string<kQuote, kQuote>,
                                                  pegtl::not_one<kQuote>>>,
                           pegtl::one<kQuote>> {};
struct TextLiteral : Quoted<'\''> {};
struct QuotedName : Quoted<'"'> {};
struct PlainName
    : pegtl::seq<pegtl::not_at<Keyword>, WordFirst, pegtl::star<WordRest>> {};

struct Digits : pegtl::plus<pegtl::digit> {};
struct Exponent : pegtl::seq<pegtl::one<'e', 'E'>,
                             pegtl::opt<pegtl::one<'+', '-'>>, Digits> {};
struct Fraction
    : pegtl::sor<pegtl::seq<Digits, pegtl::one<'.'>, pegtl::opt<Digits>>,
                 pegtl::seq<pegtl::one<'.'>, Digits>> {};
struct FloatSuffix : pegtl::one<'d', 'D', 'f', 'F'> {};
struct ApproximateLiteral
    : pegtl::seq<
          pegtl::sor<pegtl::seq<Fraction, pegtl::opt<Exponent>,
                                pegtl::opt<FloatSuffix>>,
                     pegtl::seq<Digits, Exponent, pegtl::opt<FloatSuffix>>,
                     pegtl::seq<Digits, FloatSuffix>>,
          pegtl::not_at<WordRest>> {};
struct ExactLiteral : pegtl::seq<Digits, pegtl::opt<pegtl::one<'l', 'L'>>,
                                 pegtl::not_at<WordRest>> {};
struct Number : pegtl::sor<ApproximateLiteral, ExactLiteral> {};

// --- Values ------------------------------------------------------------------

struct Either;  // The lowest precedence.
struct Open : Named<Sign<'('>, Expected::kOpen> {};
struct Close : Named<Sign<')'>, Expected::kClose> {};
struct Group : pegtl::seq<Sign<'('>, Nested<Either>, Close> {};
struct Primary : Named<pegtl::sor<Token<Number>, Token<TextLiteral>,
                                  Token<TrueWord>, Token<FalseWord>,
                                  Token<PlainName>, Token<QuotedName>, Group>,
                       Expected::kValue> {};
struct Signed;
struct Minus : pegtl::seq<Sign<'-'>, Nested<Signed>> {};
struct Plus : pegtl::seq<Sign<'+'>, Nested<Signed>> {};
struct Signed : pegtl::sor<Minus, Plus, Primary> {};

struct Times : pegtl::seq<Sign<'*'>, Signed> {};
struct Over : pegtl::seq<Sign<'/'>, Signed> {};
struct Product
    : pegtl::seq<
          Signed,
          pegtl::star<Named<pegtl::sor<Times, Over>, Expected::kOperator>>> {};
struct Added : pegtl::seq<Sign<'+'>, Product> {};
struct Subtracted : pegtl::seq<Sign<'-'>, Product> {};
struct Sum : pegtl::seq<Product, pegtl::star<pegtl::sor<Added, Subtracted>>> {};

// --- Conditions --------------------------------------------------------------

struct Unequal : pegtl::string<'<', '>'> {};
struct LessOrEqual : pegtl::string<'<', '='> {};
struct GreaterOrEqual : pegtl::string<'>', '='> {};
// Not ==, for a better error.
struct Equal : pegtl::seq<pegtl::one<'='>, pegtl::not_at<pegtl::one<'='>>> {};
struct Less : pegtl::one<'<'> {};
struct Greater : pegtl::one<'>'> {};
struct ComparisonSign : Token<pegtl::sor<Unequal, LessOrEqual, GreaterOrEqual,
                                         Equal, Less, Greater>> {};
struct Compared : pegtl::seq<ComparisonSign, Sum> {};

struct BetweenBody : pegtl::seq<Token<BetweenWord>, Sum,
                                Named<Token<And>, Expected::kAnd>, Sum> {};
struct Between : BetweenBody {};
struct NotBetween : BetweenBody {};

struct ListMinus : pegtl::seq<Sign<'-'>, Token<Number>> {};
struct ListItem : Named<pegtl::sor<ListMinus, Token<Number>, Token<TextLiteral>,
                                   Token<TrueWord>, Token<FalseWord>>,
                        Expected::kLiteral> {};
struct Comma : Named<Sign<','>, Expected::kComma> {};
struct ListBegin : pegtl::seq<Token<InWord>, Open> {};
struct ListBody : pegtl::seq<ListBegin, pegtl::list<ListItem, Comma>, Close> {};
struct In : ListBody {};
struct NotIn : ListBody {};

struct LikeText : Named<Token<TextLiteral>, Expected::kText> {};
struct LikePart : pegtl::seq<Token<LikeWord>, LikeText> {};
struct EscapeEnd : pegtl::seq<Token<EscapeWord>, LikeText> {};
struct NoEscape : pegtl::success {};
struct NotEscapeEnd : EscapeEnd {};
struct NotNoEscape : pegtl::success {};
struct Like
    : pegtl::seq<LikePart,
                 pegtl::sor<Named<EscapeEnd, Expected::kEscape>, NoEscape>> {};
struct NotLike
    : pegtl::seq<LikePart, pegtl::sor<Named<NotEscapeEnd, Expected::kEscape>,
                                      NotNoEscape>> {};

struct Null : Token<NullWord> {};
struct NotNull : pegtl::seq<Token<NotWord>, Token<NullWord>> {};
struct Is : pegtl::seq<Token<IsWord>,
                       Named<pegtl::sor<Null, NotNull>, Expected::kNull>> {};

struct Negated
    : pegtl::seq<Token<NotWord>, Named<pegtl::sor<NotBetween, NotIn, NotLike>,
                                       Expected::kNegatable>> {};
struct Predicate
    : pegtl::seq<
          Sum,
          pegtl::opt<Named<pegtl::sor<Compared, Between, In, Like, Is, Negated>,
                           Expected::kOperator>>> {};

struct Condition;
struct Inverted : pegtl::seq<Token<NotWord>, Nested<Condition>> {};
struct Condition : pegtl::sor<Inverted, Predicate> {};
struct Both : pegtl::seq<Token<And>, Condition> {};
struct All : pegtl::seq<Condition, pegtl::star<Named<Both, Expected::kAnd>>> {};
struct OneOf : pegtl::seq<Token<Or>, All> {};
struct Either : pegtl::seq<All, pegtl::star<Named<OneOf, Expected::kOr>>> {};
struct Whole : pegtl::seq<Blanks, Either, Named<pegtl::eof, Expected::kEnd>> {};

// --- What is built of them ---------------------------------------------------

template <typename Rule>
struct Action : pegtl::nothing<Rule> {};

// Calls a method of the builder, with the text of the rule or without it.
template <auto kMethod>
struct Taking {
  template <typename Input>
  static bool apply(const Input& in, FilterBuilder& builder) {
    return (builder.*kMethod)({in.begin(), in.size()});
  }
};
template <auto kMethod, auto... kArguments>
struct Calling {
  static auto apply0(FilterBuilder& builder) {
    return (builder.*kMethod)(kArguments...);
  }
};
template <Comparison kComparison>
using Remembering = Calling<&FilterBuilder::Remember, kComparison>;
template <Operation kOperation, bool kInverse = false>
using Chaining = Calling<&FilterBuilder::Chain, kOperation, kInverse>;

using Builder = FilterBuilder;
// clang-format off
template <> struct Action<PlainName> : Taking<&Builder::Name> {};
template <> struct Action<QuotedName> : Taking<&Builder::QuotedName> {};
template <> struct Action<TextLiteral> : Taking<&Builder::Text> {};
template <> struct Action<TrueWord> : Taking<&Builder::True> {};
template <> struct Action<FalseWord> : Taking<&Builder::False> {};
template <> struct Action<ExactLiteral> : Taking<&Builder::Exact> {};
template <> struct Action<ApproximateLiteral>
    : Taking<&Builder::Approximate> {};
template <> struct Action<Plus> : Calling<&Builder::CheckNumber> {};
template <> struct Action<Minus> : Taking<&Builder::Negative> {};
template <> struct Action<ListMinus> : Taking<&Builder::Negative> {};
template <> struct Action<Times> : Chaining<Operation::kProduct> {};
template <> struct Action<Over> : Chaining<Operation::kProduct, true> {};
template <> struct Action<Added> : Chaining<Operation::kSum> {};
template <> struct Action<Subtracted> : Chaining<Operation::kSum, true> {};
template <> struct Action<Both> : Chaining<Operation::kAnd> {};
template <> struct Action<OneOf> : Chaining<Operation::kOr> {};
template <> struct Action<Equal> : Remembering<Comparison::kEqual> {};
template <> struct Action<Unequal> : Remembering<Comparison::kUnequal> {};
template <> struct Action<Less> : Remembering<Comparison::kLess> {};
template <> struct Action<LessOrEqual>
    : Remembering<Comparison::kLessOrEqual> {};
template <> struct Action<Greater> : Remembering<Comparison::kGreater> {};
template <> struct Action<GreaterOrEqual>
    : Remembering<Comparison::kGreaterOrEqual> {};
template <> struct Action<Compared> : Calling<&Builder::Compared> {};
template <> struct Action<Between> : Calling<&Builder::Between, false> {};
template <> struct Action<NotBetween> : Calling<&Builder::Between, true> {};
template <> struct Action<ListBegin> : Calling<&Builder::BeginList> {};
template <> struct Action<In> : Calling<&Builder::In, false> {};
template <> struct Action<NotIn> : Calling<&Builder::In, true> {};
template <> struct Action<NoEscape> : Calling<&Builder::Like, false, false> {};
template <> struct Action<EscapeEnd> : Calling<&Builder::Like, false, true> {};
template <> struct Action<NotNoEscape>
    : Calling<&Builder::Like, true, false> {};
template <> struct Action<NotEscapeEnd>
    : Calling<&Builder::Like, true, true> {};
template <> struct Action<Null> : Calling<&Builder::IsNull, false> {};
template <> struct Action<NotNull> : Calling<&Builder::IsNull, true> {};
template <> struct Action<Inverted> : Taking<&Builder::Inverted> {};
// clang-format on

}  // namespace

bool IsPlainName(std::string_view word) {
  pegtl::memory_input<pegtl::tracking_mode::lazy> in(word.data(), word.size(),
                                                     std::string());
  return pegtl::parse<pegtl::seq<PlainName, pegtl::eof>>(in);
}

absl::StatusOr<std::shared_ptr<const FilterProgram>> ParseFilter(
    std::string_view expression) {
  if (expression.size() > Filter::kMaxBytes) {
    return MakeStatus(Code::kBadParameter, "compile filter: it has ",
                      expression.size(), " bytes; limit is ", Filter::kMaxBytes,
                      " (OMS-FILTER-008)");
  }
  FilterBuilder builder(expression);
  if (!builder.CheckUtf8()) return builder.Finish(false);
  pegtl::memory_input<pegtl::tracking_mode::lazy> in(
      expression.data(), expression.size(), std::string());
  const bool parsed = pegtl::parse<Whole, Action>(in, builder);
  return builder.Finish(parsed);
}

}  // namespace openmessaging::inline v0::kit
