#include "tools/framing.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace nimsync::tools {
namespace {

using testing::ElementsAre;

constexpr MessageRule kFrames{.size = 10, .is_record = false};
constexpr MessageRule kRecords{.size = 4, .is_record = true};

std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

void put(Splitter& splitter, std::string_view bytes) {
  const std::span<std::byte> room = splitter.room();
  ASSERT_GE(room.size(), bytes.size());
  std::memcpy(room.data(), bytes.data(), bytes.size());
  splitter.added(bytes.size());
}

/// The messages in `input` when it comes in blocks of `block` bytes.
std::vector<std::string> split(Framing framing, MessageRule rule, std::string_view input, std::size_t block) {
  Splitter splitter{framing, rule};
  std::vector<std::string> messages;
  for (; !input.empty(); input.remove_prefix(std::min(block, input.size()))) {
    put(splitter, input.substr(0, block));
    while (const auto message = splitter.next()) messages.push_back(text_of(*message));
  }
  if (const auto message = splitter.last()) messages.push_back(text_of(*message));
  EXPECT_FALSE(splitter.last());
  return messages;
}

/// Why `input` is refused, and the messages before.
std::string refusal(Framing framing, MessageRule rule, std::string_view input, std::size_t block = 1000) {
  try {
    static_cast<void>(split(framing, rule, input, block));
  } catch (const BadInput& error) {
    return error.what();
  }
  ADD_FAILURE() << "it was taken";
  return {};
}

std::string with_length(std::string_view message) {
  std::string out(4, '\0');
  for (std::size_t at = 0; at < 4; ++at) out[at] = static_cast<char>(message.size() >> (8 * at) & 0xffU);
  return out + std::string{message};
}

TEST(Lines, AreTheSameWhereverTheBlocksEnd) {
  const std::string input = "one\n\nthree\nfour and 5\nsix";
  for (std::size_t block = 1; block <= input.size(); ++block) {
    EXPECT_THAT(split(Framing::lines, kFrames, input, block), ElementsAre("one", "", "three", "four and 5", "six"));
  }
}

TEST(Lines, TheLastOneNeedsNoNewlineAndANewlineAtTheEndMakesNoEmptyLine) {
  EXPECT_THAT(split(Framing::lines, kFrames, "a\nb", 1), ElementsAre("a", "b"));
  EXPECT_THAT(split(Framing::lines, kFrames, "a\nb\n", 1), ElementsAre("a", "b"));
  EXPECT_THAT(split(Framing::lines, kFrames, "\n", 1), ElementsAre(""));
  EXPECT_THAT(split(Framing::lines, kFrames, "", 1), ElementsAre());
}

TEST(Lines, MayHoldAnyOtherByte) {
  const std::string input("a\0b\r\xff\n", 6);
  EXPECT_THAT(split(Framing::lines, kFrames, input, 2), ElementsAre(std::string("a\0b\r\xff", 5)));
}

TEST(Lines, OneThatIsTooLongIsNamedWithItsSizeAndTheMaximum) {
  const std::string expected = "line 2 has 11 bytes, and a message of this channel at most 10";
  EXPECT_EQ(refusal(Framing::lines, kFrames, "ok\n12345678901\nrest\n"), expected);
  EXPECT_EQ(refusal(Framing::lines, kFrames, "ok\n12345678901"),
            "line 2 has at least 11 bytes, and a message of this channel at most 10");
}

TEST(Lines, OneThatNeverEndsIsRefusedAsSoonAsItIsTooLong) {
  Splitter splitter{Framing::lines, kFrames};
  put(splitter, "0123456789");
  EXPECT_FALSE(splitter.next());
  put(splitter, "0");
  EXPECT_THROW(static_cast<void>(splitter.next()), BadInput);
}

TEST(Lines, OfTheMaximumLengthAreTaken) {
  EXPECT_THAT(split(Framing::lines, kFrames, "0123456789\n0123456789", 3), ElementsAre("0123456789", "0123456789"));
}

TEST(Lines, OfRecordsMustHaveTheirSize) {
  EXPECT_THAT(split(Framing::lines, kRecords, "abcd\nefgh", 3), ElementsAre("abcd", "efgh"));
  EXPECT_EQ(refusal(Framing::lines, kRecords, "abcd\nef\n"), "line 2 has 2 bytes, and a record of this channel has 4");
  EXPECT_EQ(refusal(Framing::lines, kRecords, "abcd\nef"), "line 2 has 2 bytes, and a record of this channel has 4");
  EXPECT_EQ(refusal(Framing::lines, kRecords, "\n"), "line 1 has 0 bytes, and a record of this channel has 4");
}

TEST(Lines, OfManyMegabytesPassABufferThatIsSmaller) {
  const std::string line(100, 'x');
  std::string input;
  for (int at = 0; at < 50'000; ++at) input += line + "\n";
  const auto messages = split(Framing::lines, {.size = 100, .is_record = false}, input, Splitter::kBlock);
  EXPECT_EQ(messages.size(), 50'000U);
  EXPECT_TRUE(std::all_of(messages.begin(), messages.end(), [&](const auto& each) { return each == line; }));
}

TEST(Raw, RecordsAreToldApartByTheirSize) {
  for (std::size_t block = 1; block <= 12; ++block) {
    EXPECT_THAT(split(Framing::raw, kRecords, "abcdefghijkl", block), ElementsAre("abcd", "efgh", "ijkl"));
  }
}

TEST(Raw, APartialRecordIsNamedByTheByteAtWhichTheInputEnded) {
  EXPECT_EQ(refusal(Framing::raw, kRecords, "abcdefghij", 3),
            "the input ended at byte 10, 2 bytes into message 3, and a record of this channel has 4");
}

TEST(Raw, FramesAreWhatEachReadGaveInPiecesOfAtMostTheMaximum) {
  EXPECT_THAT(split(Framing::raw, kFrames, "abcdefghijklmno", 1000), ElementsAre("abcdefghij", "klmno"));
  EXPECT_THAT(split(Framing::raw, kFrames, "abcdef", 2), ElementsAre("ab", "cd", "ef"));
}

TEST(Length, MessagesAreTheSameWhereverTheBlocksEnd) {
  const std::string input = with_length("one") + with_length("") + with_length("a\nb") + with_length("0123456789");
  for (std::size_t block = 1; block <= input.size(); ++block) {
    EXPECT_THAT(split(Framing::length, kFrames, input, block), ElementsAre("one", "", "a\nb", "0123456789"));
  }
}

TEST(Length, AnImpossibleOneIsNamedWithItsPlace) {
  EXPECT_EQ(refusal(Framing::length, kFrames, with_length("abc") + std::string("\xff\xff\xff\xff", 4)),
            "message 2, at byte 7, has 4294967295 bytes, and a message of this channel at most 10");
  EXPECT_EQ(refusal(Framing::length, kRecords, with_length("abc")),
            "message 1, at byte 0, has 3 bytes, and a record of this channel has 4");
}

TEST(Length, AMessageCutShortIsNamedByTheByteAtWhichTheInputEnded) {
  EXPECT_EQ(refusal(Framing::length, kFrames, with_length("abc") + with_length("defg").substr(0, 6)),
            "the input ended at byte 13, 6 bytes into message 2");
  EXPECT_EQ(refusal(Framing::length, kFrames, "ab"), "the input ended at byte 2, 2 bytes into message 1");
}

TEST(Frame, IsWhatTheSplitterReadsBack) {
  for (const Framing framing : {Framing::lines, Framing::length}) {
    const std::string message = "0123456789";
    const Frame frame = frame_for(framing, message.size());
    const std::string written =
        text_of(std::span{frame.before}.first(frame.before_bytes)) + message + std::string(frame.newline_bytes, '\n');
    EXPECT_THAT(split(framing, kFrames, written + written, 7), ElementsAre(message, message));
  }
  EXPECT_EQ(frame_for(Framing::raw, 3).before_bytes + frame_for(Framing::raw, 3).newline_bytes, 0U);
}

}  // namespace
}  // namespace nimsync::tools
