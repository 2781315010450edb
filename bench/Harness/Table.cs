namespace Scheduler.Bench.Harness;

/// <summary>Prints rows in columns as wide as their widest cell.</summary>
internal static class Table
{
    public static void Print(IReadOnlyList<string> head, IEnumerable<string[]> rows)
    {
        List<IReadOnlyList<string>> all = [head, .. rows];
        var widths = head.Select((_, column) => all.Max(r => r[column].Length)).ToList();
        foreach (var row in all)
        {
            // Text to the left, numbers to the right.
            var cells = row.Select(
                (cell, column) => column is >= 2 and <= 4 ? cell.PadLeft(widths[column]) : cell.PadRight(widths[column])
            );
            Console.WriteLine("  " + string.Join("  ", cells).TrimEnd());
        }
    }
}
