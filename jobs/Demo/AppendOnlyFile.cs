using System.ComponentModel;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Payments.Jobs.Demo;

/// <summary>Appends lines to a file that several processes write to. Thread-safe.</summary>
/// <remarks>
/// .NET's append mode seeks to the end and writes there, so two processes overwrite each other. On Linux the file is opened with O_APPEND
/// and a line is one write (2), which the kernel appends as a whole; elsewhere the file is opened exclusively, and a collision is an error.
/// </remarks>
internal static partial class AppendOnlyFile
{
    private const int WriteOnly = 0x1;
    private const int Create = 0x40;
    private const int Append = 0x400;
    private const int CloseOnExec = 0x80000;
    private const int OwnerWritesAllRead = 0x1A4; // 0644

    /// <summary>Appends one line.</summary>
    /// <param name="path">The file; it and its folder are created when missing.</param>
    /// <param name="line">The line without its end.</param>
    /// <exception cref="IOException">The file cannot be written; the message names it.</exception>
    public static void WriteLine(string path, ReadOnlySpan<byte> line)
    {
        byte[] bytes = [.. line, (byte)'\n'];
        if (Path.GetDirectoryName(Path.GetFullPath(path)) is { } folder)
        {
            Directory.CreateDirectory(folder);
        }
        if (!OperatingSystem.IsLinux())
        {
            using var stream = new FileStream(path, FileMode.Append, FileAccess.Write, FileShare.Read, bufferSize: 0);
            stream.Write(bytes);
            return;
        }
        var descriptor = Open(path, WriteOnly | Create | Append | CloseOnExec, OwnerWritesAllRead);
        if (descriptor < 0)
        {
            throw Failure(path);
        }
        using var handle = new SafeFileHandle(descriptor, ownsHandle: true);
        // A regular file takes a short write as a whole, or the disk is full.
        if (Write(handle, bytes, bytes.Length) != bytes.Length)
        {
            throw Failure(path);
        }
    }

    private static IOException Failure(string path)
    {
        var error = new Win32Exception(Marshal.GetLastPInvokeError());
        return new IOException($"Cannot append to '{path}': {error.Message}. Check the permissions and the space of its folder.", error);
    }

    [LibraryImport("libc", EntryPoint = "open", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static partial int Open(string path, int flags, int mode);

    [LibraryImport("libc", EntryPoint = "write", SetLastError = true)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static partial nint Write(SafeFileHandle file, ReadOnlySpan<byte> bytes, nint count);
}
