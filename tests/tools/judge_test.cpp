// What doctor holds against a registry and a channel, by their own words: each fault alone, and nothing of a healthy
// one.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tools/doctor.hpp"

namespace nimsync::tools {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::Field;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

auto found(Gravity gravity, const char* id, const char* words) {
  return AllOf(Field(&Finding::gravity, gravity), Field(&Finding::id, id), Field(&Finding::what, HasSubstr(words)));
}

RegistryInfo healthy() {
  RegistryInfo info;
  info.version = "1.2.3";
  info.max_channels = 10;
  info.max_bytes = 1000;
  return info;
}

ChannelInfo idle() {
  ChannelInfo channel;
  channel.name = "c";
  channel.geometry = {.layout = Layout::stamped, .size = 8, .capacity = 4};
  channel.state = "idle";
  return channel;
}

TEST(Judge, HasNothingAgainstAHealthyRegistry) {
  EXPECT_THAT(judge(healthy(), "1.2.3"), IsEmpty());
}

TEST(Judge, TellsOfARegistryOfAnotherVersion) {
  EXPECT_THAT(judge(healthy(), "1.2.4"),
              ElementsAre(found(Gravity::warning, "version", "nimsyncd 1.2.3, and this is nimsyncctl 1.2.4")));
}

TEST(Judge, TellsOfALimitThatIsReachedByFourFifths) {
  RegistryInfo info = healthy();
  info.channels = 7;
  info.bytes = 799;
  EXPECT_THAT(judge(info, "1.2.3"), IsEmpty());
  info.channels = 8;
  EXPECT_THAT(judge(info, "1.2.3"), ElementsAre(found(Gravity::warning, "near-limit", "8 channels of at most 10")));
  info.bytes = 800;
  info.channels = 0;
  EXPECT_THAT(judge(info, "1.2.3"), ElementsAre(found(Gravity::warning, "near-limit", "800 of memory")));
}

TEST(Judge, HasNothingAgainstAChannelInUse) {
  ChannelInfo channel = idle();
  EXPECT_THAT(judge(channel), IsEmpty());
  channel.sender = channel.receiver = Peer{.pid = 1, .uid = 0, .command = "x"};
  channel.used = 4;
  channel.senders = channel.receivers = 1;
  channel.state = "open";
  channel.sender_barrier = channel.receiver_barrier = "membarrier";
  EXPECT_THAT(judge(channel), IsEmpty());
}

TEST(Judge, TellsOfADamagedAndOfAnOrphanedChannelAndOfNothingElseOfThem) {
  ChannelInfo channel = idle();
  channel.used = 1;
  channel.state = "damaged";
  EXPECT_THAT(judge(channel), ElementsAre(found(Gravity::error, "damaged", "channel c")));
  channel.state = "orphaned";
  EXPECT_THAT(judge(channel), ElementsAre(found(Gravity::warning, "orphaned", "channel c")));
}

TEST(Judge, TellsOfMessagesWithoutAReceiver) {
  ChannelInfo channel = idle();
  channel.used = 3;
  EXPECT_THAT(judge(channel), ElementsAre(found(Gravity::warning, "no-receiver", "channel c has 3 messages")));
  channel.used = 1;
  EXPECT_THAT(judge(channel), ElementsAre(found(Gravity::warning, "no-receiver", "has 1 message and no receiver")));
  channel.geometry = {.layout = Layout::framed, .size = 8, .capacity = 4096};
  channel.used = 24;
  EXPECT_THAT(judge(channel), ElementsAre(found(Gravity::warning, "no-receiver", "has 24 bytes of messages and no")));
}

TEST(Judge, TellsOfAReceiverWhoseSenderIsGoneButNotOfOneThatNeverHadOneOrAtTheEndOfAStream) {
  ChannelInfo channel = idle();
  channel.receiver = Peer{.pid = 7, .uid = 0, .command = "feed"};
  channel.state = "waiting";
  EXPECT_THAT(judge(channel), IsEmpty());
  channel.senders = 1;
  EXPECT_THAT(judge(channel), ElementsAre(found(Gravity::warning, "no-sender", "feed[7]")));
  channel.state = "closed";
  EXPECT_THAT(judge(channel), IsEmpty());
}

TEST(Judge, TellsOfPeersThatAreRefusedMembarrier) {
  ChannelInfo channel = idle();
  channel.sender_barrier = "fence";
  channel.receiver_barrier = "refused";
  EXPECT_THAT(judge(channel), ElementsAre(found(Gravity::warning, "peer-without-membarrier", "the sender"),
                                          found(Gravity::warning, "peer-without-membarrier", "the receiver")));
}

}  // namespace
}  // namespace nimsync::tools
