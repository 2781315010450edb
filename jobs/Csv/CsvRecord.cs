namespace Payments.Jobs.Csv;

/// <summary>One record of a CSV file, or the line where none could be read. Immutable.</summary>
/// <param name="Line">The number of its first line, from 1.</param>
/// <param name="Fields">The values without their quotes; <see langword="null"/> when the line is malformed.</param>
/// <param name="Problem">Why the line is malformed; <see langword="null"/> when it is not.</param>
/// <param name="Raw">The text as it stands in the file, without its last line end; cut at <see cref="CsvReader.MaxRecordLength"/>.</param>
internal sealed record CsvRecord(long Line, IReadOnlyList<string>? Fields, string? Problem, string Raw)
{
    /// <summary>Whether the line has nothing on it.</summary>
    public bool IsBlank => Raw.Length == 0;
}
