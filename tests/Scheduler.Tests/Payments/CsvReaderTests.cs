using FsCheck;
using FsCheck.Fluent;
using Payments.Jobs.Csv;

namespace Scheduler.Tests.Payments;

public class CsvReaderTests
{
    [Fact]
    public void What_is_written_is_read_back()
    {
        var character = Gen.Frequency((4, Gen.Elements('a', 'Z', '7', 'é', '漢', ' ')), (3, Gen.Elements('"', ',', '\r', '\n', '\0')));
        var value = Gen.Sized(size => Gen.Choose(0, size).SelectMany(n => Gen.ArrayOf(character, n))).Select(c => new string(c));
        var record = Gen.Choose(1, 6).SelectMany(n => Gen.ArrayOf(value, n));
        var file = Gen.Sized(size => Gen.Choose(0, Math.Min(size, 20)).SelectMany(n => Gen.ArrayOf(record, n)));

        Prop.ForAll(
                file.ToArbitrary(),
                records =>
                {
                    var text = string.Concat(records.Select(r => CsvFormat.Line(r)));
                    var read = ReadAll(text);
                    return read.All(r => r.Problem is null)
                        && read.Count == records.Length
                        && read.Zip(records).All(p => p.First.Fields!.SequenceEqual(p.Second, StringComparer.Ordinal));
                }
            )
            .Check(Config.QuickThrowOnFailure.WithMaxTest(500));
    }

    [Fact]
    public void Any_text_is_read_to_its_end_and_no_good_line_after_it_is_lost()
    {
        var character = Gen.Elements('a', '"', ',', '\r', '\n');
        var text = Gen.Sized(size => Gen.Choose(0, size).SelectMany(n => Gen.ArrayOf(character, n))).Select(c => new string(c));

        Prop.ForAll(
                text.ToArbitrary(),
                garbage =>
                {
                    // The line after a text is its own record exactly when no quoted value is open there; if one was left open, the
                    // end of the file closes nothing and the lines are read again one by one.
                    var read = ReadAll(garbage + "\ngood,line\n");
                    return read[^1].Fields is ["good", "line"] && read.Zip(read.Skip(1)).All(p => p.First.Line < p.Second.Line);
                }
            )
            .Check(Config.QuickThrowOnFailure.WithMaxTest(1_000));
    }

    [Theory]
    [InlineData("a,b\r\nc,d\r\n")]
    [InlineData("a,b\nc,d\n")]
    [InlineData("a,b\nc,d")]
    [InlineData("\"a\",b\r\n\"c\",\"d\"")]
    public void Line_ends_and_quotes_are_taken(string text)
    {
        var read = ReadAll(text);

        Assert.Equal(["a", "b"], read[0].Fields);
        Assert.Equal(["c", "d"], read[1].Fields);
        Assert.Equal([1L, 2L], read.Select(r => r.Line));
    }

    [Fact]
    public void A_quoted_line_end_belongs_to_the_value_and_counts_as_a_line()
    {
        var read = ReadAll("\"a\r\nb\"\"\",c\nd\n");

        Assert.Equal(["a\r\nb\"", "c"], read[0].Fields);
        Assert.Equal(3, read[1].Line);
    }

    [Theory]
    [InlineData("x\"y\"", "inside an unquoted value at character 2")]
    [InlineData("\"x\"y", "follows a closing quote at character 4")]
    [InlineData("\"x", "not closed before the end of the file")]
    [InlineData("x\ry", "lone carriage return stands at character 2")]
    public void A_malformed_line_is_named_with_the_reason(string line, string reason)
    {
        var read = ReadAll("a\n" + line);

        Assert.Equal(["a"], read[0].Fields);
        Assert.Equal((2L, line), (read[1].Line, read[1].Raw));
        Assert.Contains(reason, read[1].Problem, StringComparison.Ordinal);
        Assert.Null(read[1].Fields);
    }

    [Fact]
    public void A_forgotten_quote_costs_its_own_line_only()
    {
        var read = ReadAll("a,b\n\"oops,b\nc,d\n\"e\",f\ng,h\n");

        Assert.Equal([1L, 2L, 3L, 4L, 5L], read.Select(r => r.Line));
        Assert.Equal([2L], read.Where(r => r.Problem is not null).Select(r => r.Line));
    }

    [Fact]
    public void An_endless_line_and_an_endless_value_are_cut_and_reading_goes_on()
    {
        var line = new string('x', 100_000);
        var value = "\"" + string.Concat(Enumerable.Repeat("open,1\n", 5_000));

        var read = ReadAll($"{line}\ngood,1\n{value}good,2\n");

        Assert.Contains("longer than 16384", read[0].Problem, StringComparison.Ordinal);
        Assert.True(read[0].Raw.Length <= CsvReader.MaxRecordLength + 1);
        Assert.Equal(["good", "1"], read[1].Fields);
        Assert.Contains("not closed within 16384", read[2].Problem, StringComparison.Ordinal);
        Assert.Equal(["good", "2"], read[^1].Fields);
        Assert.Equal(5_003, read.Count);
    }

    private static List<CsvRecord> ReadAll(string text)
    {
        var reader = new CsvReader(new StringReader(text));
        var records = new List<CsvRecord>();
        while (reader.ReadAsync(CancellationToken.None).AsTask().GetAwaiter().GetResult() is { } record)
        {
            records.Add(record);
        }
        return records;
    }
}
