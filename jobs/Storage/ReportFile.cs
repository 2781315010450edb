namespace Payments.Jobs.Storage;

/// <summary>Files that a reader sees old or new, always whole. Stateless and thread-safe.</summary>
internal static class ReportFile
{
    /// <summary>Replaces a file, or makes it.</summary>
    /// <remarks>The new one is written in the same folder, so that the rename stays within one file system, and synced first, so that a
    /// power cut leaves no empty file.</remarks>
    public static async ValueTask ReplaceAsync(string path, byte[] content, CancellationToken cancellationToken)
    {
        var temporary = Path.Combine(Path.GetDirectoryName(path)!, $".{Path.GetFileName(path)}.tmp");
        await using (var stream = new FileStream(temporary, FileMode.Create, FileAccess.Write, FileShare.None))
        {
            await stream.WriteAsync(content, cancellationToken);
            stream.Flush(flushToDisk: true);
        }
        File.Move(temporary, path, overwrite: true);
    }
}
