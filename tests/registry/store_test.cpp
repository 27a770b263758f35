// The store on a real folder and real shared memory, in this process.
#include "daemon/store.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <deque>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "os/line.hpp"
#include "tests/service/private_daemon.hpp"

namespace nimsync::registry {
namespace {

namespace fs = std::filesystem;

/// Gives what it was told, then counts on.
class Numbers {
 public:
  explicit Numbers(std::deque<std::uint64_t> first = {}) : first_(std::move(first)) {}
  std::uint64_t operator()() {
    if (first_.empty()) return next_++;
    const std::uint64_t number = first_.front();
    first_.pop_front();
    return number;
  }

 private:
  std::deque<std::uint64_t> first_;
  std::uint64_t next_ = 0x1000;
};

class StoreTest : public ::testing::Test {
 protected:
  static Definition wanted(const std::string& name, std::uint64_t capacity = 16) {
    return {.name = name, .shape = {.geometry = {Layout::dense, 8, capacity}, .alignment = 8}};
  }
  Definition make(Store& store, const std::string& name) const {
    Store::Creation creation(store, wanted(name));
    while (!creation.step()) continue;
    return creation.finish();
  }
  static std::size_t segments(const Definition& like) {
    const std::string prefix = like.forward.name.substr(1, like.forward.name.size() - 19);
    return os::segments_named(prefix).size();
  }
  [[nodiscard]] std::string state() const { return folder.path() + "/state"; }

  testing::TemporaryFolder folder;
};

TEST_F(StoreTest, TakesAnotherNameWhenOneIsSquatted) {
  // A channel takes a number for its segments' names and one for its generation.
  Store store(state(), Numbers({1, 100, 2, 3, 101}));
  const Definition probe = make(store, "probe");
  const std::string base = probe.forward.name.substr(0, probe.forward.name.size() - 18);
  const std::string squatted = base + "0000000000000002.r";  // the second of the two: the first must be given back
  const os::Descriptor squatter(::shm_open(squatted.c_str(), O_CREAT | O_EXCL | O_RDWR, 0666));
  ASSERT_TRUE(squatter);
  const Definition made = make(store, "x");
  EXPECT_EQ(made.forward.name, base + "0000000000000003.f");
  EXPECT_EQ(segments(probe), 5U);
  store.remove(made);
  store.remove(probe);
  EXPECT_TRUE(os::open_segment(squatted, os::Access::read_only)) << "a squatter's is left alone";
  os::unlink_segment(squatted);
}

TEST_F(StoreTest, GivesUpWhenEveryNameIsSquatted) {
  Store store(state(), [] { return std::uint64_t{7}; });
  const Definition made = make(store, "first");
  EXPECT_THROW(Store::Creation(store, wanted("second")), Error);
  store.remove(made);
}

TEST_F(StoreTest, LeavesNothingOfAChannelThatWasNotFinished) {
  Store store(state(), Numbers());
  const Definition like = make(store, "like");
  ASSERT_EQ(segments(like), 2U);
  { const Store::Creation begun(store, wanted("a")); }
  {
    Store::Creation half(store, wanted("b", std::uint64_t{1} << 22));
    EXPECT_FALSE(half.step()) << "32 MiB take more than one slice";
    EXPECT_EQ(segments(like), 4U);
  }
  EXPECT_EQ(segments(like), 2U);
  {
    // The name is taken on disk by something that isn't ours: publishing fails.
    fs::create_directory(state() + "/channels/c");
    Store::Creation creation(store, wanted("c"));
    while (!creation.step()) continue;
    EXPECT_THROW(creation.finish(), Error);
  }
  EXPECT_EQ(segments(like), 2U);
  EXPECT_EQ(std::distance(fs::directory_iterator(state() + "/channels"), fs::directory_iterator()), 2);
  store.remove(like);
  EXPECT_EQ(segments(like), 0U);
}

TEST_F(StoreTest, AdoptsWhatAnEarlierOneMade) {
  Definition a;
  {
    Store store(state(), Numbers());
    a = make(store, "a");
    EXPECT_THROW(Store(state(), Numbers()), Error) << "two at once";
  }
  Store store(state(), Numbers());
  const auto adopted = store.adopt({});
  EXPECT_EQ(adopted.channels, (std::vector<Definition>{a}));
  EXPECT_TRUE(adopted.remarks.empty());
  EXPECT_EQ(store.describe(a).state, "idle");
  store.remove(a);
}

TEST_F(StoreTest, AdoptsTheOthersWhenADefinitionNamesSegmentsThatCannotBe) {
  Store store(state(), Numbers());
  const Definition a = make(store, "a");
  const Definition b = make(store, "b");
  for (const std::string& tail : {std::string("/x"), std::string(300, 'x')}) {
    Definition impossible = b;
    impossible.forward.name += tail;
    std::ofstream(state() + "/channels/b/definition") << to_text(impossible);
    const auto adopted = store.adopt({});
    EXPECT_EQ(adopted.channels, (std::vector<Definition>{a}));
    EXPECT_FALSE(adopted.remarks.empty());
    EXPECT_EQ(segments(a), 4U) << "nothing is swept while nobody knows whose it is";
  }
  store.remove(a);
  store.remove(b);
}

TEST_F(StoreTest, TouchesNothingOfAnotherInstance) {
  Store one(state(), Numbers());
  const Definition a = make(one, "a");
  Store other(folder.path() + "/other", Numbers());
  const Definition b = make(other, "a");
  EXPECT_NE(a.forward.name, b.forward.name);
  other.adopt({});
  EXPECT_EQ(one.describe(a).state, "idle");
  one.remove(a);
  EXPECT_EQ(other.describe(b).state, "idle");
  other.remove(b);
}

TEST_F(StoreTest, RefusesAFolderThatOthersMayWrite) {
  fs::create_directory(state());
  fs::permissions(state(), fs::perms(0777));
  EXPECT_THROW(Store(state(), Numbers()), Error);
}

TEST_F(StoreTest, GrantsASideToOneAtATime) {
  Store store(state(), Numbers());
  const Definition a = make(store, "a");
  const protocol::Peer me{.pid = ::getpid(), .uid = ::geteuid(), .command = "me"};
  {
    const auto sides = store.grant(a, protocol::Role::sender, me);
    EXPECT_EQ(store.holder(a, protocol::Role::sender), me);
    EXPECT_EQ(store.holder(a, protocol::Role::receiver), std::nullopt);
    EXPECT_THROW(static_cast<void>(store.grant(a, protocol::Role::sender, me)), Error);
    EXPECT_NO_THROW(static_cast<void>(store.grant(a, protocol::Role::receiver, me)));
  }
  EXPECT_EQ(store.holder(a, protocol::Role::sender), std::nullopt) << "the lease ends with its last descriptor";
  store.remove(a);
}

TEST_F(StoreTest, UnlinksBothLinesAndThenRingsThem) {
  Store store(state(), Numbers());
  const Definition a = make(store, "a");
  const auto sender = store.grant(a, protocol::Role::sender, {});
  const auto receiver = store.grant(a, protocol::Role::receiver, {});
  EXPECT_TRUE(os::is_linked(sender[2]));
  EXPECT_FALSE(os::drain(sender[3]).rung);
  store.remove(a);
  for (const auto* side : {&sender, &receiver}) {
    EXPECT_FALSE(os::is_linked((*side)[2]));
    EXPECT_TRUE(os::drain((*side)[3]).rung);
  }
}

/// A service manager's, which outlives the stores here.
class Kept {
 public:
  DescriptorStore for_next_registry() {
    return {.kept = duplicates(),
            .keep =
                [this](const std::string& name, const os::Descriptor& fd) {
                  if (names_left_-- == 0) throw Error(Errc::no_space, "no more");
                  fds_.insert_or_assign(name, os::Descriptor(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 0)));
                },
            .forget = [this](const std::string& name) { fds_.erase(name); }};
  }
  void add(const std::string& name) { fds_.insert_or_assign(name, os::Descriptor(::open("/dev/null", O_RDONLY))); }
  void take_one_away() { fds_.erase(fds_.begin()); }
  void refuse_after(int names) { names_left_ = names; }
  [[nodiscard]] std::size_t size() const { return fds_.size(); }

 private:
  std::map<std::string, os::Descriptor> duplicates() const {
    std::map<std::string, os::Descriptor> copies;
    for (const auto& [name, fd] : fds_) copies.emplace(name, ::fcntl(fd.get(), F_DUPFD_CLOEXEC, 0));
    return copies;
  }
  std::map<std::string, os::Descriptor> fds_;
  int names_left_ = -1;
};

class HandedOn : public StoreTest {
 protected:
  Definition make_sealed(Store& store, const std::string& name) const {
    Definition definition = wanted(name);
    definition.sealed = true;
    Store::Creation creation(store, definition);
    while (!creation.step()) continue;
    return creation.finish();
  }
  /// Names of what the next registry finds.
  std::vector<std::string> adopted(Store& store) {
    std::vector<std::string> names;
    for (const Definition& each : store.adopt({}).channels) names.push_back(each.name);
    return names;
  }
  Kept kept;
};

TEST_F(HandedOn, SealedMemoryIsTheSameForTheNextRegistry) {
  Definition made;
  {
    Store store(state(), Numbers(), kept.for_next_registry());
    EXPECT_TRUE(store.hands_on_sealed());
    made = make_sealed(store, "x");
    EXPECT_EQ(kept.size(), 2U);
  }
  Store store(state(), Numbers(), kept.for_next_registry());
  EXPECT_EQ(adopted(store), std::vector<std::string>{"x"});
  EXPECT_FALSE(store.is_orphan(made));
  EXPECT_EQ(store.describe(made).state, "idle");
  EXPECT_NO_THROW(store.grant(made, protocol::Role::sender, {}));
  store.remove(made);
  EXPECT_EQ(kept.size(), 0U);
}

TEST_F(HandedOn, HalfOfAChannelIsNone) {
  {
    Store store(state(), Numbers(), kept.for_next_registry());
    make_sealed(store, "x");
  }
  kept.take_one_away();
  Store store(state(), Numbers(), kept.for_next_registry());
  EXPECT_TRUE(adopted(store).empty());
  EXPECT_EQ(kept.size(), 0U);
}

TEST_F(HandedOn, OtherMemoryThanWasMadeIsNone) {
  Definition made;
  {
    Store store(state(), Numbers(), kept.for_next_registry());
    made = make_sealed(store, "x");
  }
  Kept others;
  for (const char side : {'f', 'r'}) {
    std::array<char, 32> name{};
    std::snprintf(name.data(), name.size(), "sealed.%016llx.%c", static_cast<unsigned long long>(made.generation),
                  side);
    others.add(name.data());
  }
  Store store(state(), Numbers(), others.for_next_registry());
  EXPECT_TRUE(adopted(store).empty());
  EXPECT_EQ(others.size(), 0U);
}

TEST_F(HandedOn, WhatNoChannelHasIsGivenBack) {
  kept.add("sealed.0000000000000001.f");
  kept.add("something else");
  Store store(state(), Numbers(), kept.for_next_registry());
  EXPECT_EQ(store.adopt({}).remarks.size(), 2U);
  EXPECT_EQ(kept.size(), 0U);
}

TEST_F(HandedOn, AChannelThatIsNotKeptIsNotMade) {
  Store store(state(), Numbers(), kept.for_next_registry());
  kept.refuse_after(1);
  EXPECT_THROW(make_sealed(store, "x"), Error);
  EXPECT_EQ(kept.size(), 0U);
  EXPECT_TRUE(fs::is_empty(state() + "/channels"));
}

}  // namespace
}  // namespace nimsync::registry
