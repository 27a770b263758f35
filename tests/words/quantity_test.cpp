#include "words/quantity.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace nimsync::words {
namespace {

using std::chrono::hours;
using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

template <class Parse>
std::string refusal(Parse parse, const std::string& text) {
  try {
    static_cast<void>(parse(text));
  } catch (const Error& error) {
    EXPECT_EQ(error.errc(), Errc::invalid);
    return error.what();
  }
  ADD_FAILURE() << '"' << text << "\" was taken";
  return {};
}

TEST(Quantity, ReadsSizesInPowersOf1024) {
  EXPECT_EQ(parse_size("0"), 0U);
  EXPECT_EQ(parse_size("17"), 17U);
  EXPECT_EQ(parse_size("64K"), 65536U);
  EXPECT_EQ(parse_size("64k"), 65536U);
  EXPECT_EQ(parse_size("4M"), 4U << 20);
  EXPECT_EQ(parse_size("16Mi"), 16U << 20);
  EXPECT_EQ(parse_size("16MiB"), 16U << 20);
  EXPECT_EQ(parse_size("16mb"), 16U << 20);
  EXPECT_EQ(parse_size("3G"), std::uint64_t{3} << 30);
  EXPECT_EQ(parse_size("2T"), std::uint64_t{2} << 40);
  EXPECT_EQ(parse_size("12B"), 12U);
  EXPECT_EQ(parse_size("18446744073709551615"), ~std::uint64_t{0});
  EXPECT_EQ(parse_size("15E"), std::uint64_t{15} << 60);
}

TEST(Quantity, RefusesNonsenseNegativeFractionalAndOverflowingSizesByName) {
  for (const char* text : {"", "K", "-1", "+1", "1.5K", "4 M", "4X", "4MM", "4Mx", "0x10", " 4", "4iB", "1e3", "4\n"}) {
    EXPECT_THAT(refusal(parse_size, text), testing::StartsWith('"' + std::string{text} + "\" is not a size;"));
  }
  for (const char* text : {"18446744073709551616", "16E", "99999999999999999999999K", "17179869184G"}) {
    EXPECT_THAT(refusal(parse_size, text),
                testing::StartsWith('"' + std::string{text} + "\" is not a size below 16E;"));
  }
}

TEST(Quantity, ReadsDurations) {
  EXPECT_EQ(parse_duration("0s"), Timeout{0});
  EXPECT_EQ(parse_duration("100ns"), Timeout{100});
  EXPECT_EQ(parse_duration("250us"), microseconds{250});
  EXPECT_EQ(parse_duration("500ms"), milliseconds{500});
  EXPECT_EQ(parse_duration("2s"), seconds{2});
  EXPECT_EQ(parse_duration("1m"), minutes{1});
  EXPECT_EQ(parse_duration("3h"), hours{3});
}

TEST(Quantity, RefusesDurationsThatHaveNoUnitOrAreNone) {
  for (const char* text : {"", "5", "s", "-5s", "5 s", "5sec", "1.5s", "5S", "99999999999999999999s"}) {
    EXPECT_THAT(refusal(parse_duration, text), testing::HasSubstr("is not a duration"));
  }
  EXPECT_THAT(refusal(parse_duration, "9223372036854775807ns"), testing::HasSubstr("below 292 years"));
  EXPECT_THAT(refusal(parse_duration, "9999999999h"), testing::HasSubstr("below 292 years"));
}

TEST(Quantity, ReadsModesAsOctal) {
  EXPECT_EQ(parse_mode("0620"), 0620U);
  EXPECT_EQ(parse_mode("620"), 0620U);
  EXPECT_EQ(parse_mode("0o620"), 0620U);
  EXPECT_EQ(parse_mode("0"), 0U);
  EXPECT_EQ(parse_mode("777"), 0777U);
  for (const char* text : {"", "8", "0689", "1000", "-1", "rw", "0o", "0x1ff", "u=rw"}) {
    EXPECT_THAT(refusal(parse_mode, text), testing::HasSubstr("is not a mode"));
  }
}

TEST(Quantity, WritesSizesShortAndRoundedDown) {
  EXPECT_EQ(format_size(0), "0");
  EXPECT_EQ(format_size(1023), "1023");
  EXPECT_EQ(format_size(1024), "1K");
  EXPECT_EQ(format_size(12595), "12.2K");
  EXPECT_EQ(format_size((1U << 20) - 1), "1023.9K");
  EXPECT_EQ(format_size(4U << 20), "4M");
  EXPECT_EQ(format_size(~std::uint64_t{0}), "15.9E");
}

TEST(Quantity, WhatItWritesOfWholeSizesItReadsBack) {
  for (unsigned shift = 0; shift < 64; ++shift) {
    const std::uint64_t size = std::uint64_t{1} << shift;
    EXPECT_EQ(parse_size(format_size(size)), size);
  }
}

TEST(Quantity, WritesAgesInTheLargestUnit) {
  EXPECT_EQ(format_age(-5), "0s");
  EXPECT_EQ(format_age(59), "59s");
  EXPECT_EQ(format_age(60), "1m");
  EXPECT_EQ(format_age(3600), "1h");
  EXPECT_EQ(format_age(200000), "2d");
}

TEST(Quantity, WritesModesAsFourDigits) {
  EXPECT_EQ(format_mode(0620), "0620");
  EXPECT_EQ(format_mode(0), "0000");
}

}  // namespace
}  // namespace nimsync::words
