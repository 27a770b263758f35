// Statuses, errors and waits: plain values.
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <type_traits>

#include "nimsync/error.hpp"
#include "nimsync/status.hpp"
#include "nimsync/wait.hpp"

namespace nimsync {
namespace {

constexpr int kCodes = static_cast<int>(Status::corrupted) + 1;

TEST(Status, IsTrueForOkAlone) {
  for (int code = 0; code < kCodes; ++code) {
    const Status status = static_cast<Status::Code>(code);
    EXPECT_EQ(static_cast<bool>(status), status == Status::ok) << name(status);
    EXPECT_EQ(status ? 1 : 0, status == Status::ok ? 1 : 0);
  }
}

TEST(Status, DoesNotTurnIntoABoolBehindTheCallersBack) {
  // By way of its enumerator it would be false for `ok`: bool sent = tx.try_send(x).
  EXPECT_FALSE((std::is_convertible_v<Status, bool>));
}

TEST(Status, WorksInASwitchAndHasANameForEachCode) {
  std::set<std::string> names;
  for (int code = 0; code < kCodes; ++code) {
    names.insert(name(static_cast<Status::Code>(code)));
  }
  EXPECT_EQ(names.size(), static_cast<std::size_t>(kCodes));
  EXPECT_EQ(names.count("unknown"), 0U);
  const Status status = Status::would_block;
  switch (status) {
    case Status::would_block:
      break;
    default:
      FAIL();
  }
}

TEST(Error, SaysItsSentenceAndItsCode) {
  const Error error(Errc::denied, "channel md.ticks is not yours to receive from");
  EXPECT_STREQ(error.what(), "channel md.ticks is not yours to receive from");
  EXPECT_EQ(error.errc(), Errc::denied);
  EXPECT_EQ(error.code(), Errc::denied);
  EXPECT_EQ(error.code().category().name(), std::string("nimsync"));
  EXPECT_EQ(error.code().message(), "permission denied");
  const Error copy = error;  // NOLINT(performance-unnecessary-copy-initialization): copies are what is tested
  EXPECT_STREQ(copy.what(), error.what());
}

TEST(Error, HasOneRowForEachCodeAndVarlinkName) {
  std::set<Errc> codes;
  std::set<std::string_view> names;
  for (const ErrorRow& each : kErrors) {
    codes.insert(each.code);
    names.insert(each.varlink);
    EXPECT_EQ(&row(each.code), &each);
    EXPECT_GT(each.exit_code, 0);
    EXPECT_FALSE(each.text.empty());
  }
  EXPECT_EQ(codes.size(), kErrors.size());
  EXPECT_EQ(names.size(), kErrors.size());
  EXPECT_EQ(row(static_cast<Errc>(200)).code, Errc::failed);
}

TEST(Wait, KeepsItsBoundsInOrder) {
  using std::chrono::milliseconds;
  EXPECT_EQ(Wait::busy().kind(), Wait::Kind::busy);
  const Wait nim = Wait::backoff(milliseconds(1), milliseconds(100));
  EXPECT_EQ(nim.from(), milliseconds(1));
  EXPECT_EQ(nim.to(), milliseconds(100));
  const Wait turned = Wait::backoff(milliseconds(100), milliseconds(1));
  EXPECT_EQ(turned.to(), turned.from());
  const Wait none = Wait::backoff(Timeout{0}, Timeout{-5});
  EXPECT_EQ(none.from(), Timeout{1});
  EXPECT_EQ(none.to(), Timeout{1});
}

}  // namespace
}  // namespace nimsync
